"""Pictures that the training part has under two labels, or that another part has too, are named in the log."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.support.images import encode
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.run.parts import Parts


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    photo_folder(tmp_path / "photos", {"bowl": 6, "cup": 6})
    return tmp_path / "photos"


def mirrored(path: Path) -> bytes:
    image = Image.open(BytesIO(path.read_bytes())).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return encode(image, "JPEG", quality=95)


def parts(root: Path, *test: str) -> Parts:
    data = Dataset.from_dir(root)
    tested = tuple(image for image in data.images if image.name in test)
    learnt = tuple(image for image in data.images if image.name not in test)
    return Parts(replace(data, images=learnt, part="train"), None, replace(data, images=tested, part="test"))


def test_a_picture_under_two_labels_that_is_learnt_is_named_with_what_to_do(photos: Path) -> None:
    assert parts(photos, "bowl/000.jpg", "cup/000.jpg").remarks() == []
    (photos / "cup" / "again.jpg").write_bytes((photos / "bowl" / "001.jpg").read_bytes())
    (photos / "cup" / "mirror.jpg").write_bytes(mirrored(photos / "bowl" / "002.jpg"))
    (photos / "bowl" / "own.jpg").write_bytes(mirrored(photos / "bowl" / "003.jpg"))
    assert parts(photos, "bowl/000.jpg", "cup/000.jpg").remarks() == [
        "2 pictures of the training part have two labels, in files that are identical or look the same, and all of "
        "them are learnt: bowl/001.jpg and cup/again.jpg, bowl/002.jpg and cup/mirror.jpg. Give each the right label, "
        f"or flag it: salver annotate {photos}"
    ]


def test_a_look_alike_in_the_test_part_is_named_by_whether_the_labels_agree(photos: Path) -> None:
    (photos / "cup" / "other.jpg").write_bytes(mirrored(photos / "bowl" / "002.jpg"))
    (photos / "bowl" / "same.jpg").write_bytes(mirrored(photos / "bowl" / "003.jpg"))
    assert parts(photos, "bowl/same.jpg", "cup/other.jpg").remarks() == [
        "1 image of test is like training images, so the figures are too good: bowl/same.jpg looks like bowl/003.jpg",
        "1 image of test is like training images, under another label, of which one is wrong: cup/other.jpg looks like "
        "bowl/002.jpg",
    ]


def test_what_was_made_of_a_photo_is_that_photo(photos: Path) -> None:
    """As `augment` makes it: mirrored, and learnt on purpose."""
    (photos / "cup" / "made.jpg").write_bytes(mirrored(photos / "bowl" / "002.jpg"))
    found = parts(photos, "bowl/000.jpg", "cup/000.jpg")
    made = tuple(
        replace(image, source="bowl/002.jpg", label="bowl") if image.path.name == "made.jpg" else image
        for image in found.train.images
    )
    assert Parts(replace(found.train, images=made), None, found.test).remarks() == []
