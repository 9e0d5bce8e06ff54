"""A float graph made float16 by onnxruntime's converter, and how a machine that really computes in float16 answers.

On x86 onnxruntime has no float16 kernels: it takes the float16 weights and computes in float, where nothing overflows
and nothing is rounded in between. A GPU does both, so the file's answer on this machine proves too little.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from training.errors import ExportRefused
from training.gate import tolerance

RELATIVE_TOLERANCE = 0.03
"""Of the largest logit, or of 1. Rounding moved the logits of fine-tuned nets by up to 0.011 of it (docs/training.md);
a weight that is cut off at 65504 moves them by far more."""


def halve(source: Path) -> onnx.ModelProto:
    """The graph of `source` with float16 weights and activations; input, output and opset stay as they are."""
    graph: onnx.ModelProto = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def rounded(source: Path) -> onnx.ModelProto:
    """The graph of `source`, computed in float, with each weight and each result rounded to float16, or to infinity.

    That is how a GPU stores them; the sums inside a layer it keeps in float.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(source))
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            with np.errstate(over="ignore"):
                values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    floats = {
        info.name for info in (*graph.value_info, *graph.output) if info.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    nodes = [part for node in graph.node for part in (node, *_roundings(node, floats))]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def check_close(precise: NDArray[np.float32], halved: NDArray[np.float32]) -> None:
    """Raise ExportRefused when logits [images, classes] in float16 are infinite or too far from those in float."""
    infinite = int((~np.isfinite(halved).all(axis=1)).sum())
    if infinite:
        raise ExportRefused(
            f"As fp16 {infinite} of {len(halved)} validation images get no finite answer: numbers inside the net "
            "exceed 65504, the largest of float16. Export int8, or stay with the float file."
        )
    largest, allowed = float(np.abs(halved - precise).max()), tolerance(precise, RELATIVE_TOLERANCE)
    if largest > allowed:
        raise ExportRefused(
            f"As fp16 the logits of the validation images differ by up to {largest:.2e}; the tolerance is "
            f"{allowed:.2e}. Export int8, or stay with the float file."
        )


def _roundings(node: onnx.NodeProto, floats: set[str]) -> Sequence[onnx.NodeProto]:
    """The casts after `node`, whose float results get another name until they are rounded."""
    results = [name for name in node.output if name in floats]
    node.output[:] = [f"{name}:exact" if name in floats else name for name in node.output]
    casts = []
    for name in results:
        casts.append(helper.make_node("Cast", [f"{name}:exact"], [f"{name}:half"], to=TensorProto.FLOAT16))
        casts.append(helper.make_node("Cast", [f"{name}:half"], [name], to=TensorProto.FLOAT))
    return casts
