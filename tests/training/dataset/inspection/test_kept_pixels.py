from pathlib import Path

import numpy as np
import pytest

from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import Header
from tests.training.support.photos import photo_folder
from training.dataset.image import LabelledImage
from training.dataset.inspection.files import Stamp
from training.dataset.inspection.kept_pixels import KeptPixels
from training.errors import DatasetError

CROP, STRETCH = PixelSpec(height=64, width=64, shorter_side=73), PixelSpec(height=64, width=64, resize="stretch")
HEADER = Header("JPEG", "RGB", 64, 64, 1)


def photos(folder: Path) -> tuple[LabelledImage, ...]:
    return photo_folder(folder, {"cup": 2, "bowl": 1}).images


def test_an_image_that_is_asked_for_again_is_the_same_and_nobody_can_change_the_kept_one(tmp_path: Path) -> None:
    image = photos(tmp_path)[0]
    first, header = image.opened(CROP)
    wanted = first.copy()
    first[:] = 0
    again, same = image.opened(CROP)
    assert np.array_equal(again, wanted)
    assert same == header
    again[:] = 0
    assert np.array_equal(image.pixels(CROP), wanted)
    assert not np.array_equal(image.pixels(STRETCH), wanted)


def test_a_file_that_was_exchanged_or_removed_is_not_taken_from_memory(tmp_path: Path) -> None:
    one, other, *_ = photos(tmp_path)
    before, wanted = one.pixels(CROP), other.pixels(CROP)
    assert not np.array_equal(before, wanted)
    one.path.write_bytes(other.path.read_bytes())
    assert np.array_equal(one.pixels(CROP), wanted)
    one.path.unlink()
    with pytest.raises(DatasetError, match="Cannot read"):
        one.pixels(CROP)


def test_what_is_beyond_the_bound_is_not_kept(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    store = KeptPixels(2 * pixels.nbytes)
    keys = [(image.path, Stamp.of(image.path), CROP) for image in photos(tmp_path)]
    for _ in range(2):
        for key in keys:
            store.put(key, (pixels, HEADER))
    assert [store.get(key) is not None for key in keys] == [True, True, False]
