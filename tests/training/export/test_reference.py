from pathlib import Path

import pytest

from salver.artifact.facts.bins import FACTS
from tests.support.images import photo, solid
from tests.support.models import by_colour, nan_for_white
from tests.training.support.runs import exported, manifest_of
from training.dataset.dataset import Dataset, LabelledImage
from training.errors import DatasetError
from training.evaluation.model_file import ModelFile
from training.export import reference
from training.export.reference import measure_reference
from training.progress import Silent
from training.run.folder import read_run

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def dataset(folder: Path, files: dict[str, bytes]) -> Dataset:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return Dataset(tuple(LabelledImage(folder / name, "red") for name in files), ("red", "green", "blue"))


def test_a_run_keeps_histograms_of_validation_and_test_together(finished_run: Path) -> None:
    manifest, run = manifest_of(finished_run / "model.onnx"), read_run(finished_run)
    found = manifest.reference
    assert found is not None
    assert found.images == len(run.unseen)
    assert set(found.facts) == set(FACTS)
    assert {sum(bins.values()) for bins in found.facts.values()} == {found.images}
    assert min(count for bins in found.facts.values() for count in bins.values()) > 0
    file = ModelFile.read(finished_run / "model.onnx")
    logits = file.score(run.unseen, Silent())
    labels = [manifest.labels[index] for index in logits.argmax(axis=1)]
    assert found.facts["label"] == {label: labels.count(label) for label in manifest.labels if label in labels}


def test_another_precision_keeps_those_of_its_own_answers(run_folder: Path, tmp_path: Path) -> None:
    made = exported(run_folder, "int8", tmp_path / "int8.onnx", 1.0)
    ours, theirs = manifest_of(made.path).reference, manifest_of(run_folder / "model.onnx").reference
    assert ours is not None
    assert theirs is not None
    assert ours.images == theirs.images
    assert ours.facts["width"] == theirs.facts["width"]
    file, run = ModelFile.read(made.path), read_run(run_folder)
    familiarity = file.answers(run.unseen, ("familiarity",), Silent())["familiarity"]
    assert file.manifest.familiarity is not None
    below = int((familiarity < file.manifest.familiarity.threshold).sum())
    assert ours.facts["foreign"].get("yes", 0) == below


def test_photos_that_are_nearly_the_same_count_once_as_in_the_service(tmp_path: Path) -> None:
    model = by_colour(tmp_path / "model.onnx")
    files = {f"{number}.jpg": photo(64, 48, number // 3) for number in range(30)}
    found = measure_reference(model.read_bytes(), ModelFile.read(model).manifest, dataset(tmp_path, files))
    assert found.images == 10
    assert found.facts["mode"] == {"RGB": 10}
    assert "familiarity" not in found.facts


def test_of_many_images_so_many_are_taken_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "MOST_IMAGES", 10)
    model = by_colour(tmp_path / "model.onnx")
    files = {f"{number:02}.png": photo(64 if number < 20 else 96, 48, number, "PNG") for number in range(40)}
    found = measure_reference(model.read_bytes(), ModelFile.read(model).manifest, dataset(tmp_path, files))
    assert found.facts["width"] == {"0064": 5, "0096": 5}


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    model = by_colour(tmp_path / "model.onnx")
    data = dataset(tmp_path, {"good.jpg": photo(64, 48), "broken.jpg": photo(64, 48)[:300]})
    with pytest.raises(DatasetError, match=r"broken\.jpg"):
        measure_reference(model.read_bytes(), ModelFile.read(model).manifest, data)


def test_an_image_without_an_answer_is_in_no_histogram(tmp_path: Path) -> None:
    model = nan_for_white(tmp_path / "model.onnx")
    data = dataset(tmp_path, {"white.png": solid((255, 255, 255)), "red.png": solid((200, 10, 10))})
    found = measure_reference(model.read_bytes(), ModelFile.read(model).manifest, data)
    assert found.images == 1
