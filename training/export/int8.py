"""A float graph made int8 by onnxruntime's static quantiser, from the ranges that training images give."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from salver.artifact.manifest import INPUT_NAME
from training.dataset.dataset import Dataset
from training.fit.minibatches import Minibatches

CALIBRATION_IMAGES = 128
"""Training images from which the ranges of the activations are taken."""


def to_int8(source: Path, calibration: Minibatches, *, first_in_float: bool = False) -> onnx.ModelProto:
    """The graph of `source` as int8; input, output, and opset stay as they are.

    The last layer stays in float: its output would otherwise know 255 values, and near labels would tie. The first
    one does with `first_in_float`.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        prepared, target = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        names = layers(onnx.load(prepared))
        quantize_static(
            str(prepared),
            str(target),
            CalibrationImages(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # Weights of 7 bits: without VNNI, x86 adds two products in 16 bits, which those of 8 bits overflow.
            # docs/training.md has what that costs.
            reduce_range=True,
            # The pair that VNNI instructions multiply.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=names[-1:] + (names[:1] if first_in_float else []),
        )
        graph = onnx.load(target)
    original = onnx.load(source)
    graph.ir_version = original.ir_version
    del graph.opset_import[:]  # the quantiser lists every domain that onnxruntime knows
    graph.opset_import.extend(original.opset_import)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def layers(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes with weights, first to last."""
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]


def calibration_part(train: Dataset) -> Dataset:
    """At most `CALIBRATION_IMAGES`, evenly over the data set, which is sorted by label."""
    count = min(len(train), CALIBRATION_IMAGES)
    return Dataset(tuple(train.images[index * len(train) // count] for index in range(count)), train.labels)


class CalibrationImages(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """One training image at a time."""

    def __init__(self, images: Minibatches) -> None:
        self._batches = iter([images.read([index]).pixels.numpy() for index in range(len(images))])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        pixels = next(self._batches, None)
        return None if pixels is None else {INPUT_NAME: pixels}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the quantiser's advice, which it gives through the root logger."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
