from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from typer.testing import CliRunner

from salver.cli import build
from tests.support.models import Constants
from tests.training.support.made_run import made_run
from tests.training.support.runs import card_logits, exported, manifest_of
from training.errors import ExportRefused
from training.export.fp16 import rounded

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def fp16(run_folder: Path) -> Path:
    return exported(run_folder, "fp16", run_folder.parent / "fp16.onnx", 0.5).path


def test_the_fp16_file_keeps_the_contract_and_answers_its_own_test_card(run_folder: Path, fp16: Path) -> None:
    before, after = manifest_of(run_folder / "model.onnx"), manifest_of(fp16)
    assert (after.precision, after.labels, after.pixels) == ("fp16", before.labels, before.pixels)
    session = onnxruntime.InferenceSession(fp16, providers=["CPUExecutionProvider"])
    (pixels,), (logits, *others) = session.get_inputs(), session.get_outputs()
    assert [output.name for output in others] == ["features", "familiarity", "heat"]
    assert (pixels.type, pixels.shape) == ("tensor(uint8)", ["batch", 64, 64, 3])
    assert (logits.type, logits.shape) == ("tensor(float)", ["batch", 2])
    recorded = [after.golden.logits[label] for label in after.labels]
    np.testing.assert_allclose(card_logits(fp16.read_bytes(), after, 3), [recorded] * 3, atol=1e-5)


def test_the_same_run_folder_gives_the_same_fp16_bytes(run_folder: Path, fp16: Path, tmp_path: Path) -> None:
    again = exported(run_folder, "fp16", tmp_path / "again.onnx", 1.0).path
    assert again.read_bytes() == fp16.read_bytes()


def test_only_what_follows_the_last_map_is_float_and_the_file_is_half_as_long(run_folder: Path, fp16: Path) -> None:
    graph = onnx.load(fp16).graph
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    one = "number 1"  # from which familiarity is counted down
    head, plane = ("net.net.head.weight", "net.net.head.bias"), ("familiarity.centre", "familiarity.directions")
    assert floats == {*head, *plane, one}
    assert fp16.stat().st_size < 0.52 * (run_folder / "model.onnx").stat().st_size


def test_the_test_card_passes_where_every_result_is_rounded_to_float16(fp16: Path) -> None:
    manifest = manifest_of(fp16)
    (logits,) = card_logits(rounded(onnx.load(fp16)).SerializeToString(), manifest)
    recorded = [manifest.golden.logits[label] for label in manifest.labels]
    assert 0 < np.abs(logits - recorded).max() <= manifest.golden.tolerance


def test_a_net_that_only_a_gpu_would_spoil_is_refused(tmp_path: Path) -> None:
    """It tells the labels by a step of 1 at 16000, where float16 counts in steps of 8 and a CPU, in float, does not."""
    constants: Constants = {
        "find": np.array([[-255, 0, 0], [255, 0, 0]], np.float32)[:, :, None, None],
        "up": np.array([16000, 16000], np.float32),
        "same": np.eye(2, dtype=np.float32)[:, :, None, None],
        "down": np.array([-15899.5, -16100.5], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "find", "up"], ["found"], name="find"),
        helper.make_node("Conv", ["found", "same", "down"], ["maps"], name="same"),
    ]
    run = made_run(tmp_path, nodes, constants)
    with pytest.raises(ExportRefused, match="3 of 6 images have another best label"):
        exported(run, "fp16", tmp_path / "fp16.onnx", 0.01)
    with pytest.raises(ExportRefused, match=r"moves by .* the tolerance is 3\.00e-02"):
        exported(run, "fp16", tmp_path / "fp16.onnx", 1.0)
    assert not (tmp_path / "fp16.onnx").exists()


def test_the_command_writes_an_fp16_file_beside_the_float_one(run_folder: Path) -> None:
    words = ["export", str(run_folder), "--precision", "fp16", "--max-accuracy-loss", "0.5"]
    ended = CliRunner().invoke(build("export"), words)
    assert ended.exit_code == 0, ended.output
    assert ", fp16 " in ended.output
    assert "times as fast as float" in ended.output
    assert manifest_of(run_folder / "model.fp16.onnx").precision == "fp16"
