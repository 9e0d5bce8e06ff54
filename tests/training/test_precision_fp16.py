import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from salver import build
from tests.training.runs import card_logits, manifest_of, small_run
from training.errors import ExportRefused
from training.half import check_close, rounded
from training.precision import export_precision
from training.progress import Silent

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("fp16"))


@pytest.fixture(scope="module")
def fp16(run_folder: Path) -> Path:
    return export_precision(run_folder, "fp16", run_folder.parent / "fp16.onnx", 0.5, Silent()).path


def test_the_fp16_file_keeps_the_contract_and_answers_its_own_test_card(run_folder: Path, fp16: Path) -> None:
    before, after = manifest_of(run_folder / "model.onnx"), manifest_of(fp16)
    assert (after.precision, after.labels, after.pixels) == ("fp16", before.labels, before.pixels)
    session = onnxruntime.InferenceSession(fp16, providers=["CPUExecutionProvider"])
    (pixels,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (pixels.type, pixels.shape) == ("tensor(uint8)", ["batch", 64, 64, 3])
    assert (logits.type, logits.shape) == ("tensor(float)", ["batch", 2])
    recorded = [after.golden.logits[label] for label in after.labels]
    np.testing.assert_allclose(card_logits(fp16.read_bytes(), after, 3), [recorded] * 3, atol=1e-5)


def test_the_fp16_file_holds_no_float_weight_and_is_half_as_long(run_folder: Path, fp16: Path) -> None:
    kinds = {tensor.data_type for tensor in onnx.load(fp16).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    assert fp16.stat().st_size < 0.52 * (run_folder / "model.onnx").stat().st_size


def test_the_test_card_passes_where_every_result_is_rounded_to_float16(run_folder: Path, fp16: Path) -> None:
    manifest = manifest_of(fp16)
    (logits,) = card_logits(rounded(run_folder / "model.onnx").SerializeToString(), manifest)
    np.testing.assert_array_equal(logits, logits.astype(np.float16))
    recorded = [manifest.golden.logits[label] for label in manifest.labels]
    assert 0 < np.abs(logits - recorded).max() <= manifest.golden.tolerance


def test_numbers_that_float16_cannot_hold_are_refused_though_the_cpu_computes_them(
    run_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    model = onnx.load(folder / "model.onnx")
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    for tensor in model.graph.initializer:
        if tensor.name in first.input[1:]:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e5), tensor.name))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(ExportRefused, match=r"6 of 6 validation images get no finite answer.*65504"):
        export_precision(folder, "fp16", tmp_path / "fp16.onnx", 1.0, Silent())
    assert not (tmp_path / "fp16.onnx").exists()


def test_logits_beyond_the_tolerance_of_fp16_are_refused() -> None:
    logits = np.array([[4.0, -10.0]], np.float32)
    check_close(logits, logits + np.float32(0.29))
    with pytest.raises(ExportRefused, match=r"3\.10e-01; the tolerance is 3\.00e-01"):
        check_close(logits, logits + np.float32(0.31))


def test_the_command_writes_an_fp16_file_beside_the_float_one(run_folder: Path) -> None:
    words = ["export", str(run_folder), "--precision", "fp16", "--max-accuracy-loss", "0.5"]
    ended = CliRunner().invoke(build("export"), words)
    assert ended.exit_code == 0, ended.output
    assert ", fp16 " in ended.output
    assert "times as fast as float" in ended.output
    assert manifest_of(run_folder / "model.fp16.onnx").precision == "fp16"
