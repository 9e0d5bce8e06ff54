import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner

from salver.cli import build
from tests.training.run.test_run import ROOT
from tests.training.support.runs import card_logits, exported, manifest_of
from training.errors import DatasetError, ExportRefused, SettingError
from training.evaluation.model_file import ModelFile
from training.export.precision import Precision
from training.progress import Silent
from training.run.folder import read_run

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def int8(run_folder: Path) -> Path:
    return exported(run_folder, "int8", run_folder.parent / "int8.onnx", 1.0).path


def test_the_int8_file_keeps_the_contract_and_answers_its_own_test_card(run_folder: Path, int8: Path) -> None:
    before, after = manifest_of(run_folder / "model.onnx"), manifest_of(int8)
    assert (after.precision, after.labels, after.pixels) == ("int8", before.labels, before.pixels)
    session = onnxruntime.InferenceSession(int8, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 64, 64, 3]
    recorded = [after.golden.logits[label] for label in after.labels]
    logits = card_logits(int8.read_bytes(), after, 3)
    np.testing.assert_allclose(logits, [recorded] * 3, atol=1e-5)
    float_graph, graph = onnx.load(run_folder / "model.onnx"), onnx.load(int8)
    assert (graph.opset_import, graph.ir_version) == (float_graph.opset_import, float_graph.ir_version)
    assert int8.stat().st_size < (run_folder / "model.onnx").stat().st_size / 3


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_other_precisions_carry_all_outputs_through_their_own_gate_and_have_their_own_threshold(
    run_folder: Path, tmp_path: Path, precision: Precision
) -> None:
    path = exported(run_folder, precision, tmp_path / "model.onnx", 1.0).path
    before, after = manifest_of(run_folder / "model.onnx"), manifest_of(path)
    assert after.outputs == before.outputs
    assert list(after.outputs) == ["logits", "features", "familiarity", "heat"]
    passed = after.provenance.parity.outputs
    assert set(passed) == {"features", "familiarity", "heat", "heat sum"}
    assert all(found.largest <= found.tolerance for found in passed.values())
    assert before.familiarity is not None
    assert after.familiarity is not None
    assert after.familiarity.threshold != before.familiarity.threshold
    assert after.familiarity.photos == before.familiarity.photos
    # The rule holds for the file's own answers: what it was set by lies around its threshold.
    train = read_run(run_folder).train
    found = ModelFile.read(path).answers(train, ("logits", "familiarity", "heat"), Silent())
    assert np.isfinite(found["familiarity"]).all()
    assert (found["familiarity"] >= after.familiarity.threshold).mean() > 0.5
    assert after.heat is not None
    sums = found["heat"].mean(axis=(2, 3)) + np.array([after.heat.bias[label] for label in after.labels])
    largest = max(1.0, float(np.abs(found["logits"]).max()))
    np.testing.assert_allclose(sums, found["logits"], atol=1e-4 * largest)


def test_the_same_run_folder_gives_the_same_int8_bytes(run_folder: Path, int8: Path, tmp_path: Path) -> None:
    again = exported(run_folder, "int8", tmp_path / "again.onnx", 1.0).path
    assert again.read_bytes() == int8.read_bytes()


class Exchanging(Silent):
    """Stands for another run that writes over the model file in the middle of the export."""

    def __init__(self, model: Path) -> None:
        self._model = model

    def report(self, line: str) -> None:
        super().report(line)
        self._model.write_bytes(b"another model")


def test_a_model_file_that_is_exchanged_meanwhile_is_not_mixed_in(run_folder: Path, int8: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run_folder, tmp_path / "run"))
    disturbed = exported(copy, "int8", tmp_path / "disturbed.onnx", 1.0, Exchanging(copy / "model.onnx")).path
    assert (copy / "model.onnx").read_bytes() == b"another model"
    assert disturbed.read_bytes() == int8.read_bytes()


def test_the_last_layer_stays_in_float_so_that_near_labels_do_not_tie(int8: Path) -> None:
    graph = onnx.load(int8).graph
    (last,) = (node for node in graph.node if "logits" in node.output)
    assert last.op_type == "Gemm"


def test_the_test_card_passes_where_the_steps_are_computed_in_float(int8: Path) -> None:
    manifest, options = manifest_of(int8), onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    recorded = [manifest.golden.logits[label] for label in manifest.labels]
    (logits,) = card_logits(int8.read_bytes(), manifest, options=options)
    np.testing.assert_allclose(logits, recorded, atol=manifest.golden.tolerance)


def test_the_test_accuracy_of_the_float_file_is_not_claimed_for_the_int8_file(run_folder: Path, int8: Path) -> None:
    before = manifest_of(run_folder / "model.onnx").provenance.metrics
    after = manifest_of(int8).provenance.metrics
    assert "test_accuracy" not in after
    assert after["test_accuracy_fp32"] == before["test_accuracy"]


def test_the_float_file_is_not_written_over(run_folder: Path) -> None:
    before = (run_folder / "model.onnx").read_bytes()
    with pytest.raises(SettingError, match="--out"):
        exported(run_folder, "int8", run_folder / "model.onnx", 1.0)
    assert (run_folder / "model.onnx").read_bytes() == before


def test_a_loss_above_the_limit_leaves_no_file(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match=r"\d of 6 images have another best label.*--max-accuracy-loss"):
        exported(run_folder, "int8", tmp_path / "int8.onnx", -1.0)
    assert list(tmp_path.iterdir()) == []


def test_photos_that_changed_since_the_run_are_refused(finished_run: Path, tmp_path: Path) -> None:
    photos = finished_run.parent / "photos"
    extra = photos / "cup" / "extra.jpg"
    extra.write_bytes((photos / "plate" / "000.jpg").read_bytes())
    try:
        with pytest.raises(DatasetError, match="not those of the run"):
            exported(finished_run, "int8", tmp_path / "int8.onnx", 1.0)
    finally:
        extra.unlink()


@pytest.mark.parametrize("record", [None, b"", b"\xff", b"[" * 100_000, b"{}"])
def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path: Path, record: bytes | None) -> None:
    if record is not None:
        (tmp_path / "run.json").write_bytes(record)
    with pytest.raises(SettingError, match="not the folder of a finished run"):
        exported(tmp_path, "int8", tmp_path / "int8.onnx", 1.0)


def test_a_model_file_that_is_int8_already_is_not_converted_again(run_folder: Path, int8: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.copy(int8, copy / "model.onnx")
    with pytest.raises(SettingError, match="is int8 already"):
        exported(copy, "fp16", tmp_path / "fp16.onnx", 1.0)


def test_a_model_file_that_is_cut_off_is_refused(run_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (copy / "model.onnx").write_bytes((run_folder / "model.onnx").read_bytes()[:1000])
    with pytest.raises(SettingError, match="it was cut"):
        exported(copy, "int8", tmp_path / "int8.onnx", 1.0)


def test_an_interrupted_export_leaves_what_was_there(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"earlier")
    words = [sys.executable, "-m", "salver", "export", str(run_folder), "--out", str(tmp_path / "other.onnx")]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("calibrating"))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors == "Ended by SIGTERM. Start the command again.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["other.onnx"]
    assert (tmp_path / "other.onnx").read_bytes() == b"earlier"


@pytest.mark.parametrize(
    "words", [("--precision", "fp8"), ("--max-accuracy-loss", "1.5"), ("--max-accuracy-loss", "-1")]
)
def test_the_command_refuses_what_it_does_not_know(words: tuple[str, str], run_folder: Path) -> None:
    ended = CliRunner().invoke(build("export"), ["export", str(run_folder), *words])
    assert ended.exit_code == 2
    assert words[0] in click.unstyle(ended.output)


def test_the_command_prints_what_is_lost_and_won(run_folder: Path) -> None:
    ended = CliRunner().invoke(build("export"), ["export", str(run_folder), "--max-accuracy-loss", "1"])
    assert ended.exit_code == 0, ended.output
    assert "images have another best label" in ended.output
    assert "times as fast as float" in ended.output
    assert (run_folder / "model.int8.onnx").exists()
