import csv
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from salver.artifact.manifest import Manifest
from salver.artifact.pixels import decode, to_pixels
from salver.system.durable import durable
from tests.training.support.photos import photo_folder
from training.cli.train import train
from training.dataset.image import LabelledImage
from training.errors import SettingError
from training.evaluation.limits.seen import known_photos
from training.evaluation.model_file import ModelFile
from training.evaluation.schema import MetricsFile
from training.evaluation.thresholds import set_threshold
from training.fit.recipe.recipe import Recipe
from training.fit.recipe.schedule import Stepwise
from training.nets.nets import build_net
from training.progress import Silent
from training.run.parts import split
from training.run.run import train_run
from training.run.settings import RunSettings

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]


def settings(data: Path, out: Path) -> RunSettings:
    return RunSettings(
        data=data,
        out=out,
        base="resnet18",
        weights="none",
        image_size=(64, 64),
        resize="crop",
        recipe=Recipe(Stepwise((0.01,)), optimizer="sgd", batch_size=4, weight_decay=1e-4),
        val_size=0.2,
        device="cpu",
    )


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "training", *map(str, words)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    photo_folder(folder / "photos", {"cup": 8, "bowl": 8})
    train_run(settings(folder / "photos", folder / "out"), Silent())
    return folder / "out"


@pytest.mark.slow
def test_a_run_leaves_its_files_and_no_others(run: Path) -> None:
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert names == {
        "model.onnx",
        "checkpoint/weights.safetensors",
        "history.json",
        "history.png",
        "history.svg",
        "metrics.json",
        "report.html",
        "scores.csv",
        "run.json",
    }
    record = json.loads((run / "run.json").read_text())
    assert record["model_sha256"] == hashlib.sha256((run / "model.onnx").read_bytes()).hexdigest()
    assert record["counts"] == {"bowl": 8, "cup": 8}
    assert record["settings"]["base"] == "resnet18"
    assert len(json.loads((run / "history.json").read_text())["epochs"]) == 1


@pytest.mark.slow
def test_the_metrics_of_a_run_have_the_published_form_and_its_report_shows_the_epochs(run: Path) -> None:
    metrics = MetricsFile.model_validate_json((run / "metrics.json").read_text())
    assert metrics.model is not None
    assert metrics.model.sha256 == json.loads((run / "run.json").read_text())["model_sha256"]
    assert metrics.validation is not None
    assert metrics.validation.images == 3
    assert metrics.test.calibration.temperature == metrics.model.temperature
    page = (run / "report.html").read_text()
    (epoch,) = json.loads((run / "history.json").read_text())["epochs"]
    assert f'"epochs":{{"training":[{epoch["train_accuracy"]}],' in page
    assert f"salver threshold {run / 'model.onnx'}" in page


@pytest.mark.slow
def test_the_scores_are_what_the_model_file_gives_for_the_test_images(run: Path) -> None:
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    manifest = Manifest.from_metadata(session.get_modelmeta().custom_metadata_map)
    with (run / "scores.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    metrics = json.loads((run / "metrics.json").read_text())
    assert len(rows) == metrics["test"]["images"] == sum(metrics["data"]["counts"].values())
    for row in rows:
        pixels = to_pixels(decode(Path(row["path"]).read_bytes(), manifest.pixels), manifest.pixels)
        logits = session.run(None, {"pixels": pixels[None]})[0][0]
        assert np.abs(logits - [float(row[label]) for label in manifest.labels]).max() < 1e-4
        assert row["predicted"] == manifest.labels[int(logits.argmax())]
    right = sum(row["truth"] == row["predicted"] for row in rows)
    assert metrics["test"]["accuracy"]["value"] == manifest.provenance.metrics["test_accuracy"] == right / len(rows)


@pytest.mark.slow
def test_the_run_and_its_file_know_their_photos_by_part_in_every_precision_and_version(
    run: Path, tmp_path: Path
) -> None:
    from tests.training.support.runs import exported, manifest_of

    found = manifest_of(run / "model.onnx").fingerprints
    assert found is not None
    assert {part: len(b"".join(prints.values())) // 6 for part, prints in found.parts.items()} == {
        "train": 7,
        "validation": 3,
        "test": 6,
    }
    record = json.loads((run / "run.json").read_text())
    assert record["fingerprints"] == found.model_dump(mode="json")
    known = known_photos(ModelFile.read(run / "model.onnx"))
    assert known is not None
    with (run / "scores.csv").open(encoding="utf-8", newline="") as stream:
        tested = [LabelledImage(Path(row["path"]), row["truth"]) for row in csv.DictReader(stream)]
    assert {known.part(image) for image in tested} == {"test"}
    exported(run, "int8", tmp_path / "int8.onnx", 1.0)
    assert manifest_of(tmp_path / "int8.onnx").fingerprints == found
    file = ModelFile.read(run / "model.onnx")
    changed = set_threshold(file, tmp_path / "other.onnx", "cup", 0.5, min_precision=None, fingerprint=None)
    assert manifest_of(changed.path).fingerprints == found


@pytest.mark.slow
def test_without_fingerprints_the_file_tells_nothing_and_the_run_still_does(tmp_path: Path) -> None:
    from tests.training.support.runs import manifest_of

    photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    train_run(replace(settings(tmp_path / "photos", tmp_path / "out"), fingerprints=False), Silent())
    assert manifest_of(tmp_path / "out" / "model.onnx").fingerprints is None
    file = ModelFile.read(tmp_path / "out" / "model.onnx")
    known = known_photos(file)
    assert known is not None
    assert (known.size("train"), known.size("validation"), known.size("test")) == (7, 3, 6)
    moved = replace(file, path=tmp_path / "model.onnx")
    assert known_photos(moved) is None


def test_of_more_photos_than_a_file_keeps_the_run_alone_has_the_fingerprints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photo_folder(tmp_path, {"cup": 20, "bowl": 30})
    parts = split(data, settings(tmp_path, tmp_path))
    assert parts.fingerprints_for_file() == (parts.fingerprints(), "")
    monkeypatch.setattr("training.run.parts.MAX_FINGERPRINTS", 49)
    none, said = parts.fingerprints_for_file()
    assert none is None
    assert said == (
        "the model file keeps no fingerprints of its 50 photos, since the most is 49: run.json alone has them"
    )


@pytest.mark.slow
def test_the_checkpoint_is_a_start_for_another_net(run: Path) -> None:
    file = run / "checkpoint" / "weights.safetensors"
    net = build_net("resnet18", 5, str(file))
    state = load_file(file)
    assert all(state[name].equal(tensor) for name, tensor in net.backbone.state_dict().items())
    assert state["fc.weight"].shape == (2, 512)


@pytest.mark.slow
def test_a_run_folder_in_use_is_refused_unless_it_may_be_overwritten(run: Path, tmp_path: Path) -> None:
    again = settings(run.parent / "photos", run)
    with pytest.raises(SettingError, match="--overwrite"):
        train_run(again, Silent())
    before = (run / "run.json").read_text()
    train_run(replace(again, overwrite=True), Silent())
    assert (run / "run.json").read_text() != before


def test_the_three_parts_share_no_image_and_lose_none(tmp_path: Path) -> None:
    data = photo_folder(tmp_path, {"cup": 20, "bowl": 30})
    parts = split(data, replace(settings(tmp_path, tmp_path), test_size=0.33, val_size=0.1))
    assert parts.validation is not None
    paths = [image.path for part in (parts.train, parts.validation, parts.test) for image in part.images]
    assert sorted(paths) == sorted(image.path for image in data.images)
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [28, 5, 17]


@pytest.mark.parametrize(("test_size", "val_size"), [(0, 0.1), (0.3, -0.1), (0.5, 0.5), (0.9, 0.2)])
def test_shares_that_leave_a_part_empty_are_refused(tmp_path: Path, test_size: float, val_size: float) -> None:
    data = photo_folder(tmp_path, {"cup": 2, "bowl": 2})
    with pytest.raises(SettingError, match="cannot be kept"):
        split(data, replace(settings(tmp_path, tmp_path), test_size=test_size, val_size=val_size))


def test_without_a_validation_share_there_is_no_such_part(tmp_path: Path) -> None:
    data = photo_folder(tmp_path, {"cup": 2, "bowl": 20})
    parts = split(data, replace(settings(tmp_path, tmp_path), test_size=0.33, val_size=0))
    assert parts.validation is None
    assert set(parts.counts()) == {"train", "test"}
    assert [part.counts()["cup"] for part in (parts.train, parts.test)] == [1, 1]
    assert parts.unseen.images == parts.test.images


@pytest.mark.slow
def test_a_gpu_that_was_asked_for_and_is_not_there_is_an_error(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 4, "bowl": 4})
    result = subprocess.run(
        command(tmp_path / "photos", "--out", tmp_path / "out", "--device", "cuda"),
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "finds no CUDA GPU" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base", "resnet17"], "resnet18"),
        (["--learning-rates", "fast"], "0.01*8,0.001*2"),
        (["--weights", "nowhere.pt"], "nowhere.pt"),
        (["--image-size", "32"], "64 to 3584"),
        (["--learning-rates", "0.01", "--epochs", "2"], "not both"),
    ],
)
def test_what_cannot_work_ends_with_a_message_and_a_non_zero_code(
    tmp_path: Path, options: list[str], message: str
) -> None:
    photo_folder(tmp_path / "photos", {"cup": 4, "bowl": 4})
    app = typer.Typer()
    app.command()(train)
    result = CliRunner().invoke(app, [str(tmp_path / "photos"), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out" / "model.onnx").exists()


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Stands in for a full disk: the kernel refuses to let a file grow beyond it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_be_written_whole_leaves_the_one_of_before(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"good")
    with file_size_limit(1000), pytest.raises(OSError, match=rf"too large: '{path}'"), durable(path) as partial:
        partial.write_bytes(bytes(2000))
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]
