"""Float16 on hand-made nets, where it is known which number is too large for it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME
from tests.support.models import SPEC, Constants, Nodes
from tests.training.support.made_run import LABELS, made_run
from training.dataset.dataset import Dataset
from training.export.fp16 import rounded, to_fp16
from training.export.gate import open_session
from training.fit.minibatches import Minibatches

pytestmark = pytest.mark.torch


def scales(*factors: float) -> tuple[Nodes, Constants]:
    """Convolutions that multiply by one factor after the other; the last one makes two maps."""
    nodes: Nodes = []
    constants: Constants = {}
    name = "images"
    for number, factor in enumerate(factors):
        last = number + 1 == len(factors)
        constants[f"weight {number}"] = factor * np.eye(3, dtype=np.float32)[: 2 if last else 3, :, None, None]
        made = "maps" if last else f"scaled {number}"
        nodes.append(helper.make_node("Conv", [name, f"weight {number}"], [made], name=f"scale {number}"))
        name = made
    return nodes, constants


def fp16_of(folder: Path, *factors: float) -> tuple[Path, onnx.ModelProto]:
    run = made_run(folder, *scales(*factors))
    images = Minibatches(Dataset.from_dir(folder / "photos"), LABELS, SPEC)
    return run / "model.onnx", to_fp16(run / "model.onnx", images)


def answer(model: bytes) -> NDArray[np.float32]:
    pixels = np.random.default_rng(1).integers(0, 256, (3, SPEC.height, SPEC.width, 3), dtype=np.uint8)
    logits: NDArray[np.float32] = open_session(model).run([OUTPUT_NAME], {INPUT_NAME: pixels})[0]
    return logits


def weight_types(model: onnx.ModelProto) -> dict[str, int]:
    return {weights.name: weights.data_type for weights in model.graph.initializer}


def test_weights_become_float16_and_the_last_layer_and_both_ends_stay(tmp_path: Path) -> None:
    source, model = fp16_of(tmp_path, 2.0, 0.5)
    types = weight_types(model)
    assert types["weight 0"] == types["weight 1"] == TensorProto.FLOAT16
    assert types["head"] == TensorProto.FLOAT
    kinds = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert kinds == [TensorProto.UINT8, TensorProto.FLOAT]
    original = onnx.load(source)
    assert (model.opset_import, model.ir_version) == (original.opset_import, original.ir_version)
    np.testing.assert_allclose(answer(rounded(model).SerializeToString()), answer(source.read_bytes()), rtol=2e-3)


def test_layers_that_meet_numbers_too_large_for_float16_stay_in_float(tmp_path: Path) -> None:
    source, model = fp16_of(tmp_path, 1000.0, 1000.0, 1e-3, 1e-3, 1.0)
    types = weight_types(model)
    assert [types[f"weight {number}"] for number in range(5)] == [
        TensorProto.FLOAT16,
        TensorProto.FLOAT,
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.FLOAT16,
    ]
    np.testing.assert_allclose(answer(rounded(model).SerializeToString()), answer(source.read_bytes()), rtol=2e-3)


def test_a_weight_too_large_for_float16_is_not_cut_off(tmp_path: Path) -> None:
    source, model = fp16_of(tmp_path, 1e-6, 1e6, 1.0)
    assert weight_types(model)["weight 1"] == TensorProto.FLOAT
    np.testing.assert_allclose(answer(model.SerializeToString()), answer(source.read_bytes()), rtol=0.05)


def test_rounded_shows_the_overflow_that_a_cpu_hides(tmp_path: Path) -> None:
    _, model = fp16_of(tmp_path, 1000.0, 1e-3)  # up to 1000 with these photos: float16 is fine
    for weights in model.graph.initializer:
        if weights.name == "weight 0":
            weights.CopyFrom(onnx.numpy_helper.from_array(np.full((3, 3, 1, 1), 60000, np.float16), "weight 0"))
    assert np.isfinite(answer(model.SerializeToString())).all()
    assert not np.isfinite(answer(rounded(model).SerializeToString())).any()
