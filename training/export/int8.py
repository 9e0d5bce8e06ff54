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

from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME
from training.dataset.dataset import Dataset, evenly
from training.fit.minibatches import Minibatches

_POOLING = {"AveragePool", "Flatten", "GlobalAveragePool", "Identity", "ReduceMean", "Reshape", "Squeeze"}
CALIBRATION_IMAGES = 128
"""Training images from which the ranges of the activations are taken."""


def to_int8(source: Path, calibration: Minibatches, *, first_in_float: bool = False) -> onnx.ModelProto:
    """The graph of `source` as int8; input, output, and opset stay as they are.

    The tail stays in float (see `tail`): logits would otherwise know 255 values, and near labels would tie. The first
    layer does with `first_in_float`.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        prepared, target = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        whole = onnx.load(prepared)
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
            nodes_to_exclude=tail(whole) + (layers(whole)[:1] if first_in_float else []),
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


def tail(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes behind the last layer but one, pooling included: what all outputs are computed by.

    They agree with each other, as heat's mean does with the logit, only if nothing is rounded between them.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    start = makers[OUTPUT_NAME].input[0]
    while start in makers and makers[start].op_type in _POOLING:
        start = makers[start].input[0]
    behind, names = {start}, []
    for node in model.graph.node:  # in the order of computing
        if behind.intersection(node.input):
            behind.update(node.output)
            names.append(node.name)
    return names


def calibration_part(train: Dataset) -> Dataset:
    """At most `CALIBRATION_IMAGES`."""
    return Dataset(tuple(evenly(train.images, CALIBRATION_IMAGES)), train.labels)


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
