"""Every label has images to train on, wherever the parts come from."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from salver.cli import build
from tests.training.run.test_run import settings
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.dataset.reading.annotations import Annotation, write_annotations
from training.errors import DatasetError, SettingError
from training.progress import Silent
from training.run.classifier import Classifier
from training.run.parts import Parts, split
from training.run.run import describe, train_run

pytestmark = pytest.mark.torch


@pytest.fixture
def photos(tmp_path: Path) -> Dataset:
    return photo_folder(tmp_path / "photos", {"bowl": 6, "cup": 6, "mug": 6})


def place(dataset: Dataset, path: Path, **parts: str) -> Path:
    """A split file: of each label the first image in test, the second in validation, unless `parts` names one part."""
    named = []
    for part in ("train", "validation", "test"):
        images = tuple(
            image
            for image in dataset.images
            if parts.get(image.label, {"000": "test", "001": "validation"}.get(image.path.stem, "train")) == part
        )
        named.append(replace(dataset, images=images, part=part))
    Dataset.write_split(path, named)
    return path


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_a_label_without_training_images_in_a_split_file_is_refused_by_name(
    photos: Dataset, tmp_path: Path, weights: str
) -> None:
    """It was a ZeroDivisionError with class weights, and without them a label that the net never saw."""
    file = place(photos, tmp_path / "split.csv", mug="test")
    words = [
        "train",
        str(tmp_path / "photos"),
        "--split",
        str(file),
        "--out",
        str(tmp_path / "run"),
        "--weights",
        "none",
    ]
    ended = CliRunner().invoke(build("train"), [*words, "--class-weights", weights])
    assert (ended.exit_code, type(ended.exception)) == (1, SystemExit)
    assert (
        "The label 'mug' has no training images; 6 images of it in other parts. A net cannot learn it" in ended.stderr
    )
    assert not (tmp_path / "run").exists()


def test_a_split_file_with_every_label_in_training_works_though_another_part_lacks_one(
    photos: Dataset, tmp_path: Path
) -> None:
    file = place(photos, tmp_path / "split.csv", mug="train")
    parts = split(photos, replace(settings(tmp_path / "photos", tmp_path / "run"), split_file=file))
    lines = describe(photos, parts)
    assert "the validation part has no images of 'mug'" in lines
    assert "the test part has no images of 'mug'" in lines


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_split_file_without_a_part_names_the_part(photos: Dataset, tmp_path: Path, missing: str) -> None:
    other = "test" if missing != "test" else "train"
    labels = dict.fromkeys(photos.labels, other)
    file = place(photos, tmp_path / "split.csv", **({} if missing == "none" else labels))
    with pytest.raises(SettingError, match=rf"has no images for the part .*{missing}"):
        split(photos, replace(settings(tmp_path / "photos", tmp_path / "run"), split_file=file))


def test_flags_and_unreadable_files_that_empty_a_labels_training_part_are_noticed(
    photos: Dataset, tmp_path: Path
) -> None:
    file = place(photos, tmp_path / "split.csv")
    flagged = {f"cup/{number:03d}.jpg": Annotation(flag="bad") for number in range(2, 6)}
    write_annotations(tmp_path / "photos", flagged)
    wanted = replace(settings(tmp_path / "photos", tmp_path / "run"), split_file=file)
    with pytest.raises(DatasetError, match="The label 'cup' has no training images; 2 images of it in other parts"):
        train_run(wanted, Silent())
    (tmp_path / "photos" / "annotations.csv").unlink()
    for number in range(2, 6):
        (tmp_path / "photos" / "cup" / f"{number:03d}.jpg").write_bytes(b"no photo")
    Dataset.write_split(file, [replace(Dataset.from_dir(tmp_path / "photos"), part="train")])
    file = place(Dataset.from_dir(tmp_path / "photos"), file)
    with pytest.raises(DatasetError, match="The label 'cup' has no training images; 2 images of it in other parts"):
        train_run(replace(wanted, on_bad="skip"), Silent())


def test_parts_that_folders_are_need_every_label_in_training_too(tmp_path: Path) -> None:
    for part, labels in (("train", {"cup": 4, "bowl": 4}), ("test", {"cup": 2, "bowl": 2, "mug": 1})):
        photo_folder(tmp_path / part, labels)
    root = tmp_path / "photos"
    root.mkdir()
    for part in ("train", "test"):
        (tmp_path / part).rename(root / part)
    with pytest.raises(DatasetError, match="The label 'mug' has no training images; 1 image of it in other parts"):
        split(Dataset.from_dir(root), settings(root, tmp_path / "run"))
    (root / "test" / "mug" / "000.jpg").unlink()
    (root / "test" / "mug").rmdir()
    assert split(Dataset.from_dir(root), settings(root, tmp_path / "run")).test.labels == ("bowl", "cup")


def test_a_classifier_refuses_labels_and_sets_without_images(photos: Dataset, tmp_path: Path) -> None:
    """Called from Python with data sets of one's own."""
    classifier = Classifier("mobilenet_v2", photos.labels, 64, "none", device="cpu")
    without = replace(photos, images=tuple(image for image in photos.images if image.label != "mug"))
    empty = replace(photos, images=())
    for weights in ("none", "balanced"):
        with pytest.raises(DatasetError, match="The label 'mug' has no training images"):
            classifier.fit(without, photos, class_weights=weights)
        with pytest.raises(DatasetError, match="The label 'mug' has no training images"):
            classifier.fit_head(without, photos, class_weights=weights)
    with pytest.raises(DatasetError, match="has no images"):
        classifier.fit(photos, empty)
    with pytest.raises(DatasetError, match="has no images"):
        classifier.fit(empty, photos)
    fewer = Classifier("mobilenet_v2", ("bowl", "cup"), 64, "none", device="cpu")
    with pytest.raises(DatasetError, match=r"has the label 'mug'\. The classifier does not have it"):
        fewer.fit(photos, without)
    with pytest.raises(DatasetError, match=r"has the label 'mug'\. The classifier does not have it"):
        fewer.evaluate(photos)
    assert fewer.evaluate(without).absent_labels == ()


def test_pictures_that_training_and_test_share_are_said(photos: Dataset, tmp_path: Path) -> None:
    (tmp_path / "photos" / "cup" / "000.jpg").write_bytes((tmp_path / "photos" / "cup" / "005.jpg").read_bytes())
    dataset = Dataset.from_dir(tmp_path / "photos")
    file = place(dataset, tmp_path / "split.csv")
    parts = split(dataset, replace(settings(tmp_path / "photos", tmp_path / "run"), split_file=file))
    assert parts.remarks() == [
        "1 image of validation and test is among the training images, too, so the figures are too good: cup/000.jpg is "
        "cup/005.jpg"
    ]
    train, validation, test = dataset.split(val_size=0.2, test_size=0.3)
    assert Parts(train, validation, test).remarks() == []
    (tmp_path / "photos" / "cup" / "000.jpg").write_bytes((tmp_path / "photos" / "bowl" / "005.jpg").read_bytes())
    clashing = Dataset.from_dir(tmp_path / "photos")
    file = place(clashing, tmp_path / "split.csv")
    parts = split(clashing, replace(settings(tmp_path / "photos", tmp_path / "run"), split_file=file))
    assert parts.remarks() == [
        "1 image of validation and test is among the training images, too, under another label, of which one is wrong: "
        "cup/000.jpg is bowl/005.jpg"
    ]
