from pathlib import Path

import numpy as np
import pytest
import torch

from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode, to_pixels
from tests.training.support.photos import photo_folder
from training.errors import DatasetError
from training.fit.minibatches import Minibatches, minibatch_sizes, shuffled

pytestmark = pytest.mark.torch

SPEC = PixelSpec(height=64, width=72, resize="pad")


@pytest.mark.parametrize("memory_budget_bytes", [2**30, 0])
def test_minibatches_hold_the_pixels_of_the_artifact_room_in_memory_or_not(
    tmp_path: Path, memory_budget_bytes: int
) -> None:
    dataset = photo_folder(tmp_path, {"cup": 3, "bowl": 2})
    images = Minibatches(dataset, dataset.labels, SPEC, memory_budget_bytes=memory_budget_bytes)
    minibatches = list(images.minibatches([[0, 1], [2, 3], [4]]))
    assert [len(targets) for _, targets in minibatches] == [2, 2, 1]
    pixels = torch.cat([minibatch.pixels for minibatch in minibatches]).numpy()
    expected = [to_pixels(decode(image.path.read_bytes(), SPEC), SPEC) for image in dataset.images]
    assert np.array_equal(pixels, np.stack(expected))
    targets = torch.cat([minibatch.targets for minibatch in minibatches]).tolist()
    assert [dataset.labels[target] for target in targets] == [image.label for image in dataset.images]


def test_every_unreadable_image_is_listed_with_its_reason(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 3, "bowl": 3})
    (tmp_path / "cup" / "001.jpg").write_bytes(dataset.images[0].path.read_bytes()[:300])
    (tmp_path / "bowl" / "002.jpg").write_text("not an image")
    (tmp_path / "bowl" / "000.jpg").unlink()
    with pytest.raises(DatasetError, match=r"3 of 6 images cannot be read") as refusal:
        Minibatches(dataset, dataset.labels, SPEC)
    lines = str(refusal.value).splitlines()[1:]
    assert [next(name for name in ("cup/001", "bowl/002", "bowl/000") if name in line) for line in lines] == [
        "bowl/000",
        "bowl/002",
        "cup/001",
    ]


def test_an_image_of_a_label_that_the_classifier_lacks_is_named(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 1, "bowl": 1})
    with pytest.raises(DatasetError, match=r"bowl.*The classifier does not have it: its labels are cup, plate\."):
        Minibatches(dataset, ("cup", "plate"), SPEC)


def test_an_image_that_goes_bad_during_training_is_named(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 3, "bowl": 3})
    images = Minibatches(dataset, dataset.labels, SPEC, memory_budget_bytes=0)
    (tmp_path / "cup" / "001.jpg").write_bytes(b"no more")
    with pytest.raises(DatasetError, match=r"cup/001\.jpg"):
        list(images.minibatches([range(6)]))


@pytest.mark.parametrize(
    ("count", "batch_size", "processes", "sizes"),
    [
        (65, 64, 1, [65]),
        (3, 64, 1, [3]),
        (1, 64, 1, [1]),
        (9, 4, 1, [4, 5]),
        (8, 4, 1, [4, 4]),
        (18, 16, 2, [16, 2]),
        (19, 16, 4, [19]),
    ],
)
def test_ds10_a_remainder_too_small_to_train_on_joins_the_minibatch_before_it(
    count: int, batch_size: int, processes: int, sizes: list[int]
) -> None:
    assert minibatch_sizes(count, batch_size, processes) == sizes


def test_an_epoch_has_every_image_once_and_the_next_one_another_order() -> None:
    first, second = ([index for part in shuffled(65, 16, seed=0, epoch=epoch) for index in part] for epoch in range(2))
    assert sorted(first) == sorted(second) == list(range(65))
    assert first != second


def test_seed_and_epoch_decide_the_order() -> None:
    assert shuffled(12, 4, seed=1, epoch=3) == shuffled(12, 4, seed=1, epoch=3)
    assert shuffled(12, 4, seed=1, epoch=3) != shuffled(12, 4, seed=2, epoch=3)
