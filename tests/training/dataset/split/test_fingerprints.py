"""Photos that a run had are known again by their content, whatever their names are by now."""

import shutil
from pathlib import Path

import pytest

from salver.artifact.manifest import PRINT_BYTES, Fingerprints
from tests.support.images import photo
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.dataset.split.fingerprints import Known, take_fingerprints
from training.dataset.test_set import read_test_set
from training.errors import DatasetError


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return photo_folder(tmp_path / "photos", {"cup": 6, "plate": 6})


def prints(data: Dataset) -> Fingerprints:
    cups, plates = data.images[:6], data.images[6:]
    return take_fingerprints(
        {"train": (*cups[:3], *plates[:3]), "validation": (cups[3], plates[3]), "test": (*cups[4:], *plates[4:])}
    )


def test_each_photo_is_known_by_its_part_and_so_many_bytes_are_kept(data: Dataset) -> None:
    found = prints(data)
    assert found.photos == 12
    assert {label: len(joined) for label, joined in found.train.items()} == {
        "cup": 3 * PRINT_BYTES,
        "plate": 3 * PRINT_BYTES,
    }
    known = Known(Fingerprints.model_validate_json(found.model_dump_json()))
    assert [known.part(image) for image in data.images] == [
        *["train"] * 3, "validation", *["test"] * 2, *["train"] * 3, "validation", *["test"] * 2,
    ]  # fmt: skip
    assert (known.size("train"), known.size("validation"), known.size("test")) == (6, 2, 4)
    assert known.held("test", data.images) == 4


def test_a_name_plays_no_part_a_label_does_and_another_content_is_new(data: Dataset, tmp_path: Path) -> None:
    known = Known(prints(data))
    first = data.images[0]
    moved = tmp_path / "moved.jpg"
    shutil.copy(first.path, moved)
    assert known.part(LabelledImage(moved, "cup")) == "train"
    assert not known.has_other_label(LabelledImage(moved, "cup"))
    assert known.has_other_label(LabelledImage(moved, "plate"))
    moved.write_bytes(photo(96, 80, 500))
    assert known.part(LabelledImage(moved, "cup")) is None
    assert not known.has_other_label(LabelledImage(moved, "plate"))


def test_copies_in_a_part_count_as_often_as_they_are_there(data: Dataset, tmp_path: Path) -> None:
    twice = take_fingerprints({"train": data.images[:2], "test": (data.images[4], data.images[4])})
    known = Known(twice)
    assert known.size("test") == 2
    assert known.held("test", [data.images[4]]) == 1
    assert known.held("test", [data.images[4]] * 5) == 2


def test_a_photo_of_two_parts_counts_as_trained_on(data: Dataset) -> None:
    known = Known(take_fingerprints({"train": data.images[:1], "test": data.images[:1]}))
    assert known.part(data.images[0]) == "train"


def test_a_file_that_cannot_be_read_is_new_and_left_to_who_needs_its_pixels(data: Dataset, tmp_path: Path) -> None:
    assert Known(prints(data)).part(LabelledImage(tmp_path / "missing.jpg", "cup")) is None
    with pytest.raises(DatasetError, match=r"missing\.jpg"):
        take_fingerprints({"train": [LabelledImage(tmp_path / "missing.jpg", "cup")]})


def test_what_was_used_otherwise_is_left_out_unless_a_part_is_named(data: Dataset, tmp_path: Path) -> None:
    known, root = Known(prints(data)), tmp_path / "photos"
    (root / "cup" / "new.jpg").write_bytes(photo(96, 80, 700))
    usual = read_test_set(root, known=known)
    assert (len(usual.scored), len(usual.folder)) == (5, 13)
    assert usual.scored.notes[-1] == (
        "taken are the 5 of 13 photos that were neither trained on nor watched; --part all takes all of them"
    )
    for_thresholds = read_test_set(root, known=known, usual="validation").scored
    assert len(for_thresholds) == 3
    assert "neither trained on nor tested on" in for_thresholds.notes[-1]
    assert len(read_test_set(root, part="all", known=known).scored) == 13
    sizes = {part: len(read_test_set(root, part=part, known=known).scored) for part in ("train", "validation", "test")}
    assert sizes == {"train": 6, "validation": 2, "test": 4}


def test_a_folder_of_which_nothing_was_used_stays_whole(data: Dataset, tmp_path: Path) -> None:
    known = Known(prints(data))
    others = photo_folder(tmp_path / "others", {"cup": 1, "plate": 1}, width=70)
    found = read_test_set(tmp_path / "others", known=known)
    assert [image.name for image in found.scored.images] == [image.name for image in others.images]
    assert found.scored.notes == ()


def test_a_folder_that_was_used_up_and_a_part_that_nothing_tells_are_refused(data: Dataset, tmp_path: Path) -> None:
    known, root = Known(take_fingerprints({"train": data.images})), tmp_path / "photos"
    with pytest.raises(
        DatasetError, match=r"Each of the 12 photos in .* was trained on in the model's run.*--part all"
    ):
        read_test_set(root, known=known)
    with pytest.raises(DatasetError, match="none of the 12 photos"):
        read_test_set(root, part="test", known=known)
    with pytest.raises(DatasetError, match=r"Nothing tells which photos .* are the part 'test'"):
        read_test_set(root, part="test")
    with pytest.raises(DatasetError, match="With --part all there is nothing to --split"):
        read_test_set(root, tmp_path / "split.csv", "all")
    assert len(read_test_set(root, part="all").scored) == 12
