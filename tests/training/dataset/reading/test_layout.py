"""How the folders of a data set are understood: labels, parts of a split above the labels, a folder too much."""

import json
from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from salver.cli import build
from tests.support.images import photo
from training.dataset.collection import collect
from training.dataset.dataset import Dataset
from training.dataset.reading.annotations import Annotation, write_annotations
from training.dataset.reading.folder import scan
from training.dataset.reading.layout import part_named
from training.dataset.test_set import read_test_set
from training.errors import DatasetError


def photos(root: Path, *folders: str, each: int = 3) -> Path:
    """So many different photos in each of the folders, which may be `train/cup`, or `.`."""
    seeds = count(sum(1 for _ in root.rglob("*.jpg")))
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            (root / folder / f"{number:03d}.jpg").write_bytes(photo(48, 40, next(seeds)))
    return root


def parted(root: Path, *parts: str, labels: tuple[str, ...] = ("cup", "plate")) -> Path:
    return photos(root, *(f"{part}/{label}" for part in parts for label in labels))


def run(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(build(str(words[0])), list(map(str, words)))


def test_folders_that_are_parts_of_a_split_have_the_labels_in_them(tmp_path: Path) -> None:
    """train/, val/ and test/ above the label folders never become labels."""
    root = parted(tmp_path, "train", "val", "test")
    dataset = Dataset.from_dir(root)
    assert dataset.labels == ("cup", "plate")
    assert dataset.counts() == {"cup": 9, "plate": 9}
    assert {part: len(images) for part, images in dataset.parts().items()} == {"train": 6, "validation": 6, "test": 6}
    assert (
        "the folders are parts of a split: test for the test at the end, train for training, val for validation; the "
        "labels are the folders in them"
    ) in dataset.summary().splitlines()
    train, validation, test = dataset.split_as_given(val_size=0.1, test_size=0.33)
    assert [part.part for part in (train, validation, test)] == ["train", "validation", "test"]
    assert {image.name.split("/")[0] for image in validation.images} == {"val"}
    assert train.labels == validation.labels == test.labels == ("cup", "plate")


@pytest.mark.parametrize(
    ("folder", "part"),
    [
        *(("Training", "train"), ("TRAIN_SET", "train"), ("trainset", "train"), ("train_images", "train")),
        *(("valid", "validation"), ("Validation", "validation"), ("dev", "validation"), ("val2017", "validation")),
        *(("testing", "test"), ("Test1", "test"), ("test data", "test")),
        *(("trainer", None), ("latest", None), ("device", None), ("contest", None), ("value", None), ("", None)),
        *(("test tube", None), ("train_station", None)),
    ],
)
def test_a_folder_is_named_like_a_part_in_many_ways(folder: str, part: str | None) -> None:
    assert part_named(folder) == part


def test_parts_may_have_partly_different_labels_and_differ_in_case(tmp_path: Path) -> None:
    root = parted(tmp_path, "Train", labels=("cup", "plate", "bowl"))
    parted(root, "VAL", labels=("cup", "plate"))
    parted(root, "Testing", labels=("cup",))
    dataset = Dataset.from_dir(root)
    assert dataset.labels == ("bowl", "cup", "plate")
    assert dataset.parts()["test"].counts() == {"bowl": 0, "cup": 3, "plate": 0}


@pytest.mark.parametrize(("missing", "option"), [("val", "--val-size"), ("test", "--test-size")])
def test_a_part_without_a_folder_is_taken_out_of_the_training_part_and_said(
    tmp_path: Path, missing: str, option: str
) -> None:
    given = "test" if missing == "val" else "val"
    root = parted(tmp_path, "train", given)
    photos(root, "train/cup", "train/plate", each=12)
    dataset = Dataset.from_dir(root)
    assert f"training takes it out of train ({option})" in dataset.summary()
    train, validation, test = dataset.split_as_given(val_size=0.25, test_size=0.25)
    kept, cut = (validation, test) if given == "val" else (test, validation)
    assert len(kept) == 6
    assert {image.name.split("/")[0] for image in kept.images} == {given}
    assert {image.name.split("/")[0] for image in cut.images} == {"train"}
    assert (len(train), len(cut)) == (18, 6)
    assert cut.part == ("test" if missing == "test" else "validation")
    assert not set(train.images) & set(cut.images)


def test_parts_without_one_to_train_on_cannot_be_split(tmp_path: Path) -> None:
    root = parted(tmp_path, "val", "test")
    with pytest.raises(DatasetError, match="folders for validation and test, and none to train on"):
        Dataset.from_dir(root).split_as_given(0.1, 0.3)
    assert len(read_test_set(root).scored) == 6


def test_labels_that_are_called_test_and_train_stay_labels(tmp_path: Path) -> None:
    """Images directly in them, or sub-folders that differ, are a label's; that they look like parts is said."""
    flat = photos(tmp_path / "flat", "test", "train")
    assert Dataset.from_dir(flat).labels == ("test", "train")
    assert "the labels are 'test', 'train', which are names of parts" in Dataset.from_dir(flat).summary()
    deep = photos(tmp_path / "deep", "train/steam", "train/diesel", "test/exam", "test/tube")
    assert Dataset.from_dir(deep).labels == ("test", "train")
    among = photos(tmp_path / "among", "train/web", "train/own", "car/web", "car/own", "plane/web", "plane/own")
    assert Dataset.from_dir(among).labels == ("car", "plane", "train")


def test_folders_below_labels_hold_images_of_the_label(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", "cup/red", "cup/white", "plate/white", "plate/red")
    dataset = Dataset.from_dir(root)
    assert dataset.counts() == {"cup": 6, "plate": 6}
    assert not dataset.parts()
    said = "each label holds the folders red, white: these are no labels"
    assert said in run("check", root).output
    assert said in dataset.summary().splitlines()
    (root / "cup" / "000.jpg").write_bytes(photo(48, 40, 99))
    assert Dataset.from_dir(root).notes == (said,)
    different = photos(tmp_path / "different", "cup/red", "plate/white", "plate/red", "bowl")
    assert Dataset.from_dir(different).notes == ()
    above = photos(tmp_path / "above", "cup/train", "cup/test", "plate/train", "plate/test")
    assert Dataset.from_dir(above).notes == (
        "each label holds the folders test, train: these are no labels, and no parts of a split",
    )


def test_labels_that_share_folders_are_named_also_beside_others(tmp_path: Path) -> None:
    """Years above the labels, and a part beside a folder that is none: training would learn years, or `train`."""
    years = photos(tmp_path / "years", "2024/cup", "2024/plate", "2025/cup", "2025/plate", "loose")
    said = "the labels '2024', '2025' hold the folders cup, plate: these are no labels"
    assert Dataset.from_dir(years).notes == (said,)
    assert said in run("check", years).output
    one = photos(tmp_path / "one", "train/cup", "train/plate", "unlabelled/cup")
    assert Dataset.from_dir(one).notes == ("each label holds the folder cup: these are no labels",)


def test_parts_are_known_by_a_word_of_their_names(tmp_path: Path) -> None:
    root = parted(tmp_path / "photos", "seg_train", "seg_test")
    assert Dataset.from_dir(root).labels == ("cup", "plate")
    assert {image.part for image in Dataset.from_dir(root).images} == {"train", "test"}
    stations = photos(
        tmp_path / "stations", "train station/day", "train station/night", "test tube/day", "test tube/night"
    )
    assert Dataset.from_dir(stations).labels == ("test tube", "train station")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            ("seg_train/cup", "seg_train/plate", "seg_test/cup", "seg_test/plate", "seg_pred"),
            "'seg_pred' beside them is",
        ),
        (("train/cup", "train/plate", "test/cup", "test/plate", "extra"), "but 'extra' beside them is neither"),
        (("train/cup", "train/plate", "val/cup", "val/plate", "test"), "but 'test' beside them is neither"),
        (("train/a", "train/b", "val/a", "val/b", "valid/a"), "'val', 'valid' are both named like the validation part"),
        (("train/cup", "train/plate", "test"), "'test' has 3 images without labels"),
        (
            ("photos/cup", "photos/plate"),
            r"in which the folders cup, plate look like the labels\. Name that one: .*photos",
        ),
        (("train/cup", "train/plate"), r"Name that one: .*/train"),
        (("photos/train/cup", "photos/test/cup"), r"in which the folders test, train .* Name that one: .*/photos"),
        (("data/photos/cup", "data/photos/plate"), r"in which the folders cup, plate .* Name that one: .*/data/photos"),
        (("train/Cup", "train/plate", "test/cup"), "labels 'Cup' and 'cup'"),
        ((".",), "has 3 images and no folders, so no labels"),
    ],
)
def test_folders_that_cannot_be_meant_as_they_stand_are_refused_by_name(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    root = photos(tmp_path, *folders)
    with pytest.raises(DatasetError, match=message):
        Dataset.from_dir(root)
    assert run("check", root).exit_code != 0
    trained = run("train", root, "--out", tmp_path.with_name("run"), "--weights", "none")
    assert (trained.exit_code, tmp_path.with_name("run").exists()) == (1, False)


def test_labels_in_the_names_of_a_flat_folder_are_said(tmp_path: Path) -> None:
    photos(tmp_path, ".", each=4)
    for old, new in (("000", "cup_001"), ("001", "cup (2)"), ("002", "soup plate-1"), ("003", "soup plate-2")):
        (tmp_path / f"{old}.jpg").rename(tmp_path / f"{new}.jpg")
    with pytest.raises(DatasetError, match=r"names begin with cup, soup plate: if these are the labels, make a folder"):
        Dataset.from_dir(tmp_path)
    write_annotations(tmp_path, {"cup_001.jpg": Annotation("cup"), "soup plate-1.jpg": Annotation("plate")})
    assert Dataset.from_dir(tmp_path).labels == ("cup", "plate")


def test_photos_beside_empty_label_folders_are_not_said_to_have_no_folders(tmp_path: Path) -> None:
    photos(tmp_path, ".")
    (tmp_path / "cup").mkdir()
    with pytest.raises(DatasetError, match="The label 'cup' has no images"):
        Dataset.from_dir(tmp_path)


def test_the_names_that_cameras_give_are_no_labels(tmp_path: Path) -> None:
    photos(tmp_path, ".")
    with pytest.raises(DatasetError) as caught:
        Dataset.from_dir(tmp_path)
    assert "begin with" not in str(caught.value)


def test_a_label_folder_that_is_empty_in_every_part_is_named(tmp_path: Path) -> None:
    root = parted(tmp_path, "train", "val", "test")
    (root / "train" / "mug").mkdir()
    with pytest.raises(DatasetError, match="The label 'mug' has no images"):
        Dataset.from_dir(root)
    photos(root, "train/mug")
    assert Dataset.from_dir(root).labels == ("cup", "mug", "plate")


def test_annotations_quarantine_and_split_files_work_with_parts(tmp_path: Path) -> None:
    root = parted(tmp_path, "train", "val", "test")
    write_annotations(
        root,
        {"train/cup/000.jpg": Annotation("plate"), "test/cup/001.jpg": Annotation(flag="bad"), "x.jpg": Annotation()},
    )
    bad = root / "val" / "plate" / "002.jpg"
    bad.write_bytes(b"no photo")
    assert run("check", root, "--quarantine").exit_code == 0
    dataset = Dataset.from_dir(root)
    counts = {part: images.counts() for part, images in dataset.parts().items()}
    assert counts == {
        "train": {"cup": 2, "plate": 4},
        "validation": {"cup": 3, "plate": 2},
        "test": {"cup": 2, "plate": 3},
    }
    split = run("split", root)
    assert "train: 6 images (cup 2, plate 4)" in split.output
    parts = dataset.read_split(root / "split.csv")
    assert {part: images.counts() for part, images in parts.items()} == counts


def test_an_image_beside_the_parts_is_in_none_even_when_it_has_a_label(tmp_path: Path) -> None:
    """One that lies directly in a part has no label until an annotation gives it one."""
    root = photos(parted(tmp_path, "train", "test"), ".", "train", each=1)
    assert [image.name for image in collect(root).unlabelled] == ["000.jpg", "train/000.jpg"]
    write_annotations(root, {"000.jpg": Annotation("cup"), "train/000.jpg": Annotation("cup")})
    found = collect(root)
    assert [(out.image.name, out.reason) for out in found.left_out] == [("000.jpg", "in no part")]
    assert [image.part for image in found.images if image.name == "train/000.jpg"] == ["train"]


def test_annotations_further_down_are_said_to_be_unused(tmp_path: Path) -> None:
    """Made by `salver annotate photos/train`: training on photos would pass over them."""
    root = parted(tmp_path, "train", "test")
    write_annotations(root / "train", {"cup/000.jpg": Annotation("plate")})
    assert f"{root}/train/annotations.csv is not used: only those directly in {root} are" in (
        Dataset.from_dir(root).summary()
    )
    assert Dataset.from_dir(root / "train").counts() == {"cup": 2, "plate": 4}


def test_check_says_which_folder_is_which_part_and_finds_pictures_in_two_of_them(tmp_path: Path) -> None:
    root = parted(tmp_path, "train", "val", "test")
    assert "no problems" in run("check", root).output
    (root / "test" / "cup" / "copy.jpg").write_bytes((root / "train" / "cup" / "000.jpg").read_bytes())
    photos(root, "test/mug")
    found = run("check", root)
    assert found.exit_code == 1
    assert "val for validation" in found.output
    report = json.loads((root / "check.json").read_text())
    cases = {finding["kind"]: finding["items"] for finding in report["findings"] if finding["problem"]}
    assert cases == {
        "in two parts": [{"images": ["test/cup/copy.jpg", "train/cup/000.jpg"], "detail": "test / train"}],
        "labels": [{"images": [], "detail": "'mug' has no image in the training part, so no net can learn it"}],
    }


def test_a_test_set_is_the_part_that_is_asked_for(tmp_path: Path) -> None:
    root = parted(tmp_path, "train", "test")
    test = read_test_set(root).scored
    assert {image.name.split("/")[0] for image in test.images} == {"test"}
    assert test.notes[-1] == "these are the images of the part 'test'"
    with pytest.raises(DatasetError, match="has folders for train and test, and none for validation"):
        read_test_set(root, None, "validation")
    assert len(read_test_set(root / "test").scored) == 6  # a part alone is a folder like any other


def test_a_split_file_goes_before_the_folders(tmp_path: Path) -> None:
    root = parted(tmp_path, "train", "test")
    dataset = Dataset.from_dir(root)
    Dataset.write_split(tmp_path / "other.csv", dataset.split(val_size=0.3, test_size=0.3))
    test = read_test_set(root, tmp_path / "other.csv").scored
    assert {image.name.split("/")[0] for image in test.images} == {"test", "train"}


def test_the_annotation_page_shows_the_labels_in_the_parts(tmp_path: Path) -> None:
    folder = scan(parted(tmp_path, "train", "val"))
    assert folder.labels == ("cup", "plate")
    assert {image.label for image in folder.images} == {"cup", "plate"}


def test_parts_of_two_unicode_forms_of_a_label_are_one_label(tmp_path: Path) -> None:
    """macOS unpacks é as two characters, other systems as one."""
    root = photos(tmp_path, "train/caf\u00e9", "train/tea", "test/cafe\u0301", "test/tea")
    assert Dataset.from_dir(root).counts() == {"café": 6, "tea": 6}


def test_no_image_of_a_part_that_folders_give_is_augmented_for_training(tmp_path: Path) -> None:
    torch = pytest.importorskip("torchvision.transforms.v2")
    from training.fit.augmentation import augment

    dataset = Dataset.from_dir(parted(tmp_path / "photos", "train", "test"))
    with pytest.raises(DatasetError, match="Augment its training part"):
        augment(dataset, [torch.Identity()], out=tmp_path / "more")
    assert len(augment(dataset.parts()["train"], [torch.Identity()], out=tmp_path / "more")) == 12


def test_a_build_takes_every_image_of_a_folder_whatever_its_folders_mean(tmp_path: Path) -> None:
    parted(tmp_path / "photos", "train", "test", "extra")
    (tmp_path / "spec.json").write_text('{"cup": ["photos"], "test": ["more"]}')
    photos(tmp_path, "more")
    assert run("build", tmp_path / "spec.json", "--out", tmp_path / "out").exit_code == 0
    assert Dataset.from_dir(tmp_path / "out").labels == ("cup", "test")


@pytest.mark.torch
@pytest.mark.slow
def test_a_run_takes_the_parts_that_the_folders_are(tmp_path: Path) -> None:
    from tests.training.run.test_run import settings
    from training.progress import Silent
    from training.run.run import train_run

    class Heard(Silent):
        lines: tuple[str, ...] = ()

        def report(self, line: str) -> None:
            self.lines = (*self.lines, line)

    root = parted(tmp_path / "photos", "train", "val", "test")
    heard = Heard()
    result = train_run(settings(root, tmp_path / "run"), heard)
    assert result is not None
    assert result.manifest.labels == ("cup", "plate")
    assert {image.name.split("/")[0] for image in result.test.images or ()} <= {"test"}
    assert any(line.startswith("the folders are parts of a split: ") for line in heard.lines)
    assert "split into 6 train, 6 validation, 6 test" in heard.lines
    evaluated = run("evaluate", tmp_path / "run" / "model.onnx", root, "--out", tmp_path / "report")
    assert evaluated.exit_code == 0, evaluated.output
    assert "these are the images of the part 'test'" in evaluated.output
    assert "6 images: accuracy" in evaluated.output
    assert (tmp_path / "run" / "model.onnx").is_file()
