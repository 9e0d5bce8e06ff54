import io
import timeit

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from salver.artifact.facts.looks import RECENT, REMEMBERED, Looks, picture_of
from tests.support.images import picture

Pixels = NDArray[np.uint8]


def pixels(seed: int, size: int = 224) -> Pixels:
    return np.array(picture(size, size, seed))


def saved_as_jpeg(image: Pixels, quality: int = 50) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def test_brightness_and_sharpness_are_what_they_are_called() -> None:
    grey = np.full((224, 224, 3), 90, np.uint8)
    assert picture_of(grey)[:2] == (90.0, 0.0)
    stripes = grey.copy()
    stripes[:, ::2] = 110
    assert picture_of(stripes)[:2] == (100.0, 20.0)
    image = pixels(0)
    found = picture_of(image)
    assert found.brightness == pytest.approx(image[..., 1].mean(), abs=2)
    assert picture_of((image * 0.6).astype(np.uint8)).brightness == pytest.approx(0.6 * found.brightness, abs=1)
    assert picture_of(saved_as_jpeg(image, 5)).sharpness < found.sharpness
    assert found.cells.shape == (56,)
    assert found.cells.mean() == pytest.approx(found.brightness, abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (32, 32), (27, 29), (64, 448), (300, 7)])
def test_inputs_of_any_size_are_seen(size: tuple[int, int]) -> None:
    found = picture_of(np.full((*size, 3), 7, np.uint8))
    assert (found.brightness, found.sharpness, found.cells.shape) == (7.0, 0.0, (56,))
    assert set(found.cells.round(4).tolist()) <= {0.0, 7.0}


def test_what_is_sent_again_is_no_new_look_until_thousands_came_between() -> None:
    looks = Looks()
    rng = np.random.default_rng(0)
    cells = rng.normal(128, 40, (REMEMBERED + 1, 56)).astype(np.float32)
    assert looks.is_new(cells[0])
    assert all(looks.is_new(each) for each in cells[1:REMEMBERED])
    assert not looks.is_new(cells[0])
    assert looks.is_new(cells[REMEMBERED])
    assert looks.is_new(cells[0])


def test_a_burst_of_one_scene_is_one_look_and_other_pictures_are_others() -> None:
    looks, rng = Looks(), np.random.default_rng(0)
    scene = pixels(0)
    noisy = [np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8) for _ in range(20)]
    frames = [scene, saved_as_jpeg(scene), *noisy]
    assert [looks.is_new(picture_of(frame).cells) for frame in frames] == [True] + [False] * 21
    assert all(looks.is_new(picture_of(pixels(seed)).cells) for seed in range(1, 50))


def test_nearly_the_same_is_remembered_for_the_looks_of_late_only() -> None:
    looks, scene = Looks(), picture_of(pixels(0)).cells
    assert looks.is_new(scene)
    for number in range(RECENT):
        assert looks.is_new(np.full(56, 4.0 * number, np.float32))
    assert looks.is_new(scene + np.float32(0.5))


def test_a_scene_that_changes_slowly_is_a_new_look_now_and_then() -> None:
    looks, scene = Looks(), np.full(56, 100, np.float32)
    assert sum(looks.is_new(scene + np.float32(step)) for step in range(40)) == 10


@pytest.mark.timed
def test_a_look_costs_little_beside_the_image() -> None:
    image = pixels(0)
    # 14 µs on the machine of docs/drift.md; a busy one may take three times as long.
    assert min(timeit.repeat(lambda: picture_of(image), number=500, repeat=7)) / 500 < 50e-6
