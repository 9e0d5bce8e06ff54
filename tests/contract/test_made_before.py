"""What version 0.1.0 made still works: its run folder, model file, data set with tables, and deployment's state.

made-by-0.1.0.tar.xz was made by revision b433b16: a run of `salver train --head svm` on 24 rendered pictures with
annotations.csv, quarantine.csv and split.csv, from MobileNetV2's offline weights thinned out so that they pack well;
the state of a process that `salver deploy` began; and the scores that its service gave (scores.json).
"""

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from salver import Classifier, Dataset, ScoringClient, evaluate
from tests.support.live import running_service
from training.evaluation.model_file import ModelFile

pytestmark = pytest.mark.server

ARCHIVE = Path(__file__).parents[1] / "support" / "made-by-0.1.0.tar.xz"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def salver(made: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "salver", *words]
    environment = os.environ | {"XDG_STATE_HOME": str(made / "deployment")}
    return subprocess.run(command, cwd=made, env=environment, capture_output=True, text=True, timeout=110, check=False)


def test_the_service_gives_the_scores_that_its_service_gave(made: Path) -> None:
    wanted = json.loads((made / "scores.json").read_text())
    with running_service(made / "run" / "model.onnx") as served, ScoringClient(str(served.base_url)) as client:
        found = client.score([made / "photos" / image["image"] for image in wanted])
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.label == theirs["label"]  # type: ignore[union-attr]
        np.testing.assert_allclose(ours.scores, theirs["scores"], atol=1e-4)  # type: ignore[union-attr]


def test_the_data_set_and_its_tables_are_read_as_before(made: Path) -> None:
    dataset = Dataset.from_dir(made / "photos")
    assert dataset.labels == ("bowl", "cup", "cutlery", "plate")
    assert dataset.annotations()["cup/cup-000.jpg"].label == "bowl"
    assert {left.image.name: left.reason for left in dataset.left_out} == {
        "plate/plate-001.jpg": "flagged as bad",
        "cup/cut.jpg": "quarantined",
    }
    parts = dataset.read_split(made / "photos" / "split.csv")
    assert {part: len(images) for part, images in parts.items()} == {"train": 11, "validation": 4, "test": 8}


@pytest.mark.torch
@pytest.mark.slow
def test_the_classifier_and_its_file_answer_as_the_run_wrote_down(made: Path) -> None:
    test = Dataset.from_dir(made / "photos").read_split(made / "photos" / "split.csv")["test"]
    with (made / "run" / "scores.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    labels, written = tuple(header[3:]), {Path(row[0]).name: np.array(row[3:], float) for row in rows}
    evaluation = evaluate(made / "run" / "model.onnx", test)
    assert evaluation.labels == labels
    for image, logits in zip(test.images, evaluation.logits, strict=True):
        np.testing.assert_allclose(logits, written[image.path.name], atol=1e-4)
    assert evaluation.thresholds == {"cup": 0.3}
    recorded = json.loads((made / "run" / "metrics.json").read_text())["test"]
    assert evaluation.metrics().accuracy.value == recorded["accuracy"]["value"]


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_run_of_before_is_exported(made: Path, precision: str) -> None:
    ended = salver(made, "export", "run", "--precision", precision, "--max-accuracy-loss", "1")
    assert ended.returncode == 0, ended.stderr
    smaller = made / "run" / f"model.{precision}.onnx"
    assert smaller.stat().st_size < (made / "run" / "model.onnx").stat().st_size
    manifest = ModelFile.read(smaller).manifest
    assert list(manifest.outputs) == ["logits"]
    assert manifest.precision == precision


@pytest.mark.torch
@pytest.mark.slow
def test_a_file_of_before_is_evaluated_and_says_what_it_lacks(made: Path) -> None:
    words = ("run/model.onnx", "photos", "--split", "photos/split.csv", "--out", "report")
    ended = salver(made, "evaluate", *words)
    assert ended.returncode == 0, ended.stderr
    written = json.loads((made / "report" / "metrics.json").read_text())
    assert (written["test"]["familiarity"], written["foreign"]) == (None, None)
    assert (
        "the file was exported by an earlier Salver. Export it again." in (made / "report" / "report.html").read_text()
    )
    for refused in (
        salver(made, "evaluate", *words, "--foreign", "photos"),
        salver(made, "search", "photos/cup/cup-000.jpg", "photos", "--model", "run/model.onnx"),
    ):
        assert refused.returncode != 0
        assert "the file was exported by an earlier Salver. Export it again." in refused.stderr


@pytest.mark.torch
def test_weights_of_before_are_read(made: Path) -> None:
    weights = str(made / "run" / "checkpoint" / "weights.safetensors")
    assert Classifier("mobilenet_v2", labels=("a", "b"), image_size=96, weights=weights).labels == ("a", "b")


def test_a_deployment_of_before_is_known_and_can_be_deleted(made: Path) -> None:
    listed = salver(made, "list")
    assert (listed.returncode, "old" in listed.stdout) == (1, True), listed  # its process is not there any more
    assert salver(made, "delete", "old").returncode == 0
    assert not list((made / "deployment" / "salver" / "local").rglob("key-*"))
    assert "old" not in salver(made, "list").stdout
