"""The nearest labelled photos: copies, figures within their range, one file's features never another's."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import salver
from salver.cli import build
from tests.support.images import photo
from tests.support.models import by_colour
from tests.training.support.counted import Counted
from tests.training.support.runs import exported
from training.dataset.dataset import Dataset
from training.errors import DatasetError, SettingError
from training.evaluation.model_file import ModelFile
from training.progress import Silent
from training.report.search import search

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture
def photos(finished_run: Path, tmp_path: Path) -> Path:
    """With a copy of one photo under another label."""
    folder = Path(shutil.copytree(finished_run.parent / "photos", tmp_path / "photos"))
    shutil.copy(folder / "cup" / "000.jpg", folder / "plate" / "copy.jpg")
    return folder


def searched(*words: str | Path) -> Result:
    return CliRunner().invoke(build("search"), ["search", *map(str, words)], env={"COLUMNS": "200"})


# Row N3-35 of the cases: a training photo meets itself, and its copy.
def test_the_photo_itself_and_its_copies_come_first_and_are_named(finished_run: Path, photos: Path) -> None:
    model = finished_run / "model.onnx"
    found = search(model, photos / "cup" / "000.jpg", photos, 21)
    assert [(near.image.name, near.copy) for near in found[:2]] == [("cup/000.jpg", True), ("plate/copy.jpg", True)]
    assert not any(near.copy for near in found[2:])
    assert len(found) == 21
    cosines = [near.cosine for near in found]
    assert max(cosines) <= 1
    assert min(cosines) >= -1
    assert cosines[0] == pytest.approx(1, abs=1e-6)
    assert cosines[2:] == sorted(cosines[2:], reverse=True)
    # What numpy makes of the file's own features.
    dataset = Dataset.from_dir(photos)
    vectors = ModelFile.read(model).answers(dataset, ("features",), Silent())["features"].astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    place = [image.name for image in dataset.images].index("cup/000.jpg")
    wanted = dict(zip((image.name for image in dataset.images), vectors @ vectors[place], strict=True))
    assert cosines == pytest.approx([wanted[near.image.name] for near in found], abs=1e-5)


# Row N3-43: stored vectors belong to one file.
def test_features_are_kept_by_file_and_never_met_by_another(finished_run: Path, photos: Path, tmp_path: Path) -> None:
    model, cache = finished_run / "model.onnx", tmp_path / "features.sqlite"
    wanted = photos / "cup" / "001.jpg"

    def computed(file: Path) -> tuple[int, list[float]]:
        progress = Counted()
        found = search(file, wanted, Dataset.from_dir(photos), 5, progress, cache=cache)
        return progress.images, [near.cosine for near in found]

    first = computed(model)
    assert first[0] == 19  # of 21: one is the photo itself, and one a copy
    assert computed(model) == (0, first[1])
    moved = tmp_path / "other-name.onnx"
    shutil.copy(model, moved)
    assert computed(moved)[0] == 0  # the same file
    other = exported(finished_run, "int8", tmp_path / "model.onnx", 1.0).path
    images, cosines = computed(other)
    assert images == 19
    assert cosines != first[1]
    assert computed(model) == (0, first[1])


def test_the_command_shows_them_and_gives_json(finished_run: Path, photos: Path) -> None:
    words = (photos / "cup" / "000.jpg", photos, "--model", finished_run / "model.onnx", "--count", "3")
    ended = searched(*words)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.splitlines()[0] == f" 1.0000  cup    {photos / 'cup' / '000.jpg'}  a copy of it"
    assert len(ended.stdout.splitlines()) == 3
    listed = searched(*words, "--json")
    items = json.loads(listed.stdout)
    assert [item["copy"] for item in items] == [True, True, False]
    assert items[1]["label"] == "plate"
    assert set(items[0]) == {"image", "name", "label", "cosine", "copy"}


def test_a_photo_of_its_own_is_searched_and_the_front_door_has_it(
    finished_run: Path, photos: Path, tmp_path: Path
) -> None:
    assert salver.search is search
    (tmp_path / "new.jpg").write_bytes(photo(96, 80, 99))
    found = search(finished_run / "model.onnx", tmp_path / "new.jpg", photos, 4)
    assert len(found) == 4
    assert not any(near.copy for near in found)


def test_what_cannot_be_searched_is_refused_by_name(finished_run: Path, photos: Path, tmp_path: Path) -> None:
    model, wanted = finished_run / "model.onnx", photos / "cup" / "000.jpg"
    (tmp_path / "no.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"no\.jpg: The bytes are not a supported image"):
        search(model, tmp_path / "no.jpg", photos)
    with pytest.raises(DatasetError, match=r"missing\.jpg"):
        search(model, tmp_path / "missing.jpg", photos)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match="nothing has no labelled photos"):
        search(model, wanted, tmp_path / "nothing")
    with pytest.raises(SettingError, match="has no output 'features': it was exported without"):
        search(by_colour(tmp_path / "model.onnx"), wanted, photos)
    with pytest.raises(SettingError, match="number of nearest photos is 0"):
        search(model, wanted, photos, 0)
    (photos / "cup" / "cut.jpg").write_bytes(photo(96, 80, 5)[:200])
    with pytest.raises(DatasetError, match=r"cannot be read.*\n.*cut\.jpg"):
        search(model, wanted, photos)
    ended = searched(tmp_path / "no.jpg", photos, "--model", model)
    assert ended.exit_code == 1
    assert "no.jpg" in ended.stderr
