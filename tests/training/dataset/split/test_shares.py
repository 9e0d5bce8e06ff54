from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tests.support.images import encode, photo, picture
from tests.training.support.photos import photo_folder
from training.cli import data as data_commands
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.errors import DatasetError, SettingError


def parts_by_name(parts: tuple[Dataset, ...]) -> dict[str, str]:
    return {image.name: str(part.part) for part in parts for image in part.images}


def test_three_parts_have_every_label_and_their_shares(tmp_path: Path) -> None:
    train, validation, test = photo_folder(tmp_path, {"cup": 20, "bowl": 30}).split(val_size=0.1, test_size=0.33)
    assert [len(part) for part in (train, validation, test)] == [28, 5, 17]
    assert [part.part for part in (train, validation, test)] == ["train", "validation", "test"]
    assert all(all(part.counts().values()) for part in (train, validation, test))


def test_three_images_are_enough_for_three_parts_and_two_are_named(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"a": 20, "b": 3})
    assert all(part.counts()["b"] == 1 for part in dataset.split(val_size=0.1, test_size=0.1))
    (tmp_path / "b" / "002.jpg").unlink()
    with pytest.raises(DatasetError, match="Too few images for 3 parts: 'b' has 2"):
        Dataset.from_dir(tmp_path).split(val_size=0.1, test_size=0.1)


def test_copies_never_cross_and_a_picture_under_two_labels_stays_in_one_part(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"a": 10, "b": 10})
    for name in ("one.jpg", "two.jpg", "three.jpg"):
        (tmp_path / "a" / name).write_bytes((tmp_path / "a" / "000.jpg").read_bytes())
    (tmp_path / "b" / "clash.jpg").write_bytes((tmp_path / "a" / "001.jpg").read_bytes())
    dataset = Dataset.from_dir(tmp_path)
    for seed in range(10):
        found = parts_by_name(dataset.split(val_size=0.2, test_size=0.3, seed=seed))
        assert len(found) == 24
        assert len({found[f"a/{name}.jpg"] for name in ("000", "one", "two", "three")}) == 1
        assert found["a/001.jpg"] == found["b/clash.jpg"]


def test_near_duplicates_never_cross(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"a": 8, "b": 8})
    image = Image.open(BytesIO((tmp_path / "a" / "000.jpg").read_bytes()))
    (tmp_path / "a" / "small.png").write_bytes(encode(image.resize((48, 40))))
    (tmp_path / "a" / "poor.jpg").write_bytes(encode(image, "JPEG", quality=50))
    dataset = Dataset.from_dir(tmp_path)
    for seed in range(10):
        found = parts_by_name(dataset.split(0.5, seed=seed))
        assert found["a/000.jpg"] == found["a/small.png"] == found["a/poor.jpg"]


@pytest.mark.parametrize("as_function", [True, False])
def test_members_of_a_group_never_cross_though_it_has_several_labels(tmp_path: Path, as_function: bool) -> None:
    dataset = photo_folder(tmp_path, {"a": 20, "b": 20})
    by_name = {image.name: image.path.stem[-1] for image in dataset.images}
    groups: Callable[[LabelledImage], str] | dict[str, str] = by_name
    if as_function:
        groups = lambda image: by_name[image.name]  # noqa: E731
    for seed in range(5):
        parts = dataset.split(0.6, seed=seed, groups=groups)
        found = parts_by_name(parts)
        for name in by_name.values():
            assert len({found[image] for image, group in by_name.items() if group == name}) == 1
        assert [len(part) for part in parts] == [24, 16]


def test_a_label_that_is_one_group_is_named_with_its_counts(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"a": 6, "b": 6})
    with pytest.raises(DatasetError, match="'b' has 6, which count as 1 because some belong together"):
        dataset.split(groups={image.name: "series" for image in dataset.images if image.label == "b"})


def test_a_missing_test_class_shifts_no_label(tmp_path: Path) -> None:
    for label, count in {"1": 4, "2": 1, "10": 4}.items():
        (tmp_path / label).mkdir()
        for number in range(count):
            (tmp_path / label / f"{number}.jpg").write_bytes(photo(40, 40, 100 * int(label) + number))
    dataset = Dataset.from_dir(tmp_path)
    assert dataset.labels == ("1", "2", "10")
    seeds = [dataset.split(0.9, stratify=False, seed=seed)[1] for seed in range(3, 8)]
    assert any("2" not in {image.label for image in test.images} for test in seeds)
    assert all(test.labels == ("1", "2", "10") for test in seeds)


@pytest.mark.parametrize(("val_size", "test_size"), [(0.1, 0.0), (0.1, 1.0), (0.5, 0.5), (-0.1, 0.2)])
def test_shares_that_leave_nothing_are_refused(tmp_path: Path, val_size: float, test_size: float) -> None:
    dataset = photo_folder(tmp_path, {"a": 3, "b": 3})
    with pytest.raises(SettingError, match="more than 0, and together"):
        dataset.split(val_size=val_size, test_size=test_size)


def test_without_a_share_for_validation_that_part_is_empty(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"a": 6, "b": 2})
    train, validation, test = dataset.split(val_size=0, test_size=0.5)
    assert (len(validation), validation.part) == (0, "validation")
    assert (train.counts(), test.counts()) == ({"a": 3, "b": 1}, {"a": 3, "b": 1})


def test_a_split_is_read_back_for_what_is_used_now(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    dataset = photo_folder(data, {"a": 8, "b": 8})
    parts = dataset.split(val_size=0.2, test_size=0.2)
    Dataset.write_split(tmp_path / "split.csv", parts)
    assert tuple(dataset.read_split(tmp_path / "split.csv").values()) == parts
    (data / "annotations.csv").write_text("path,label,flag,note\na/000.jpg,b,,\na/001.jpg,,bad,\n")
    again = Dataset.from_dir(data).read_split(tmp_path / "split.csv")
    before, after = parts_by_name(parts), parts_by_name(tuple(again.values()))
    assert after == {name: part for name, part in before.items() if name != "a/001.jpg"}
    assert sum(part.counts()["b"] for part in again.values()) == 9


def test_an_image_that_a_split_does_not_place_or_that_has_changed_is_named(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    Dataset.write_split(tmp_path / "split.csv", photo_folder(data, {"a": 4, "b": 4}).split(0.5))
    old = (data / "a" / "000.jpg").read_bytes()
    (data / "a" / "000.jpg").write_bytes(encode(picture(30, 30, 99)))
    with pytest.raises(DatasetError, match=r"a/000\.jpg has changed"):
        Dataset.from_dir(data).read_split(tmp_path / "split.csv")
    (data / "a" / "000.jpg").write_bytes(old)
    (data / "b" / "new.jpg").write_bytes(photo(40, 40, 77))
    with pytest.raises(DatasetError, match=r"b/new\.jpg is not in .*split\.csv"):
        Dataset.from_dir(data).read_split(tmp_path / "split.csv")
    (tmp_path / "split.csv").write_text("path,label,part,sha256\na/000.jpg,a,trian,x\n")
    with pytest.raises(DatasetError, match="the part 'trian' is not one of train, validation, test"):
        Dataset.from_dir(data).read_split(tmp_path / "split.csv")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--group-by", r"/\d\d(\d)"], 0, "train: 20 images (a 10, b 10)"),
        (["--group-by", "["], 2, "is not a regular expression"),
        (["--group-by", "a"], 2, "has no group"),
        (["--group-by", "(x+)"], 2, "matches no name, such as a/000.jpg"),
        (["--val-size", "0.9", "--test-size", "0.5"], 1, "together they are less than 1"),
    ],
)
def test_the_command_writes_the_split_or_says_what_is_wrong(
    tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    data = tmp_path / "photos"
    photo_folder(data, {"a": 20, "b": 20})
    app = typer.Typer()
    app.command()(data_commands.split)
    words = [str(data), "--val-size", "0.2", "--test-size", "0.3", *options]
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, words)
    assert result.exit_code == code, result.output
    assert message in result.output
    if code == 0:
        found = parts_by_name(tuple(Dataset.from_dir(data).read_split(data / "split.csv").values()))
        assert all(found[f"a/00{digit}.jpg"] == found[f"b/01{digit}.jpg"] for digit in range(10))
    else:
        assert not (data / "split.csv").exists()


def test_a_whole_data_set_is_no_part_to_write(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Only the parts"):
        Dataset.write_split(tmp_path / "split.csv", [photo_folder(tmp_path / "photos", {"a": 1, "b": 1})])


def test_a_table_of_paths_and_labels_is_a_data_set(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"a": 2, "b": 2})
    (tmp_path / "list.csv").write_text("path,label\nphotos/a/000.jpg,10\nphotos/b/000.jpg,2\n")
    dataset = Dataset.from_csv(tmp_path / "list.csv")
    assert dataset.labels == ("2", "10")
    assert [image.name for image in dataset.images] == ["photos/a/000.jpg", "photos/b/000.jpg"]
    assert dataset.images[0].size == (96, 80)
    assert len(dataset.images[0].sha256) == 64


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,label\na.jpg,\n", "line 2: path or label is empty"),
        (f"path,label\na.jpg,{'x' * 1001}\n", "line 2: label .* has more than 1000 characters"),
        ("path,label\na.jpg,x\na.jpg,y\n", "line 3: 'a.jpg' has a row already"),
        ("path,label\na.jpg,x\n", r"has 1 label\."),
        ("file,label\n", "no column 'path'"),
    ],
)
def test_a_table_that_is_no_data_set_is_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(table)
    with pytest.raises(DatasetError, match=message):
        Dataset.from_csv(tmp_path / "list.csv")
