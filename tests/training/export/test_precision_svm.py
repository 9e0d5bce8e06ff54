"""Both precisions of a run with a support vector machine on top, whose photos have red equal to green."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from tests.training.run.test_run import settings
from tests.training.support.runs import exported, manifest_of
from training.export.precision import Precision
from training.nets.nets import IMAGENET_MEAN, IMAGENET_STD
from training.progress import Silent
from training.run.run import train_run

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("svm")
    generator = np.random.default_rng(0)
    for label, blue in (("sky", 220), ("sun", 40)):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(12):
            grey = generator.integers(60, 180, (8, 8), dtype=np.uint8)
            pixels = np.stack([grey, grey, np.full_like(grey, blue)], axis=2)
            Image.fromarray(pixels).resize((80, 80)).save(folder / "photos" / label / f"{number}.png")
    train_run(replace(settings(folder / "photos", folder / "run"), head="svm", val_size=0.33), Silent())
    return folder / "run"


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_support_vector_machine_passes_the_gate(run_folder: Path, tmp_path: Path, precision: Precision) -> None:
    comparison = exported(run_folder, precision, tmp_path / "model.onnx", 0.0)
    assert comparison.before.accuracy == comparison.after.accuracy == 1
    manifest = manifest_of(comparison.path)
    assert (manifest.head, manifest.precision) == ("svm", precision)


@pytest.mark.soak
def test_the_first_layer_stays_in_float_only_when_the_gate_needs_it(run_folder: Path, tmp_path: Path) -> None:
    easy = exported(run_folder, "int8", tmp_path / "easy.onnx", 0.01)
    assert not first_is_float(easy.path)
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    plant_weights_that_cancel(folder / "model.onnx")
    hard = exported(folder, "int8", tmp_path / "hard.onnx", 0.01)
    assert hard.before.accuracy == hard.after.accuracy == 1
    assert first_is_float(hard.path)


def first_is_float(path: Path) -> bool:
    graph = onnx.load(path).graph
    first = next(node for node in graph.node if node.op_type == "Conv")
    return first.input[1] in {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}


def plant_weights_that_cancel(path: Path) -> None:
    """Add large weights for red and take them away for green: nothing in float, all that int8's 127 steps can hold."""
    model = onnx.load(path)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    (weights,) = (tensor for tensor in model.graph.initializer if tensor.name == first.input[1])
    weight = numpy_helper.to_array(weights).copy()
    red, green = (10 * 255 * np.float32(deviation) for deviation in IMAGENET_STD[:2])
    weight[:, 0, 3, 3] += red
    weight[:, 1, 3, 3] -= green
    weights.CopyFrom(numpy_helper.from_array(weight, weights.name))
    assert len(first.input) == 2  # batch norm without statistics leaves no bias
    offset = np.full(len(weight), 10 * 255 * (IMAGENET_MEAN[0] - IMAGENET_MEAN[1]), np.float32)
    first.input.append("offset")
    model.graph.initializer.append(numpy_helper.from_array(offset, "offset"))
    onnx.save(model, path)
