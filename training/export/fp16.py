"""A float graph made float16 by onnxruntime's converter, except where float16 cannot hold the numbers.

A CPU hides what float16 does: onnxruntime computes a float16 layer there in float, so nothing overflows and nothing is
rounded but the weights. `rounded` therefore gives the graph that shows what a GPU will answer.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from training.export.int8 import CalibrationImages, quiet, tail
from training.fit.minibatches import Minibatches

LARGEST = float(np.finfo(np.float16).max) / 4
"""A layer with a larger number in or out stays in float: float16 ends at 65504, and other images may go higher."""


def to_fp16(source: Path, calibration: Minibatches) -> onnx.ModelProto:
    """The graph of `source` as float16; input, output and opset stay as they are.

    The tail stays in float (see `int8.tail`): logits of 11 bits would tie near labels. So does every layer that meets a
    number above `LARGEST` with the calibration images or has one among its weights, which the converter would cut off.
    """
    original = onnx.load(source)
    # torch lists weights there too, and the converter then takes those that stay in float for float16.
    del original.graph.value_info[:]
    large = _large_tensors(source, original, calibration)
    in_float = tail(original) + [
        node.name for node in original.graph.node if large.intersection((*node.input, *node.output))
    ]
    with quiet():
        converted = convert_float_to_float16(original, keep_io_types=True, node_block_list=in_float)
        # Between two layers in float the converter casts down and up again, where the large number would overflow.
        graph = OnnxModel(converted)
        graph.remove_cascaded_cast_nodes()
        graph.topological_sort()
    model: onnx.ModelProto = graph.model
    del model.graph.value_info[:]  # the converter's types are wrong beside the layers in float
    onnx.checker.check_model(model, full_check=True)
    return model


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` computed in float with every float16 result rounded, to infinity if need be: as a GPU stores it."""
    model = onnx.shape_inference.infer_shapes(model)
    in_fp16 = {info.name for info in model.graph.value_info if info.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        made = [name for name in node.output if name in in_fp16]
        if node.op_type == "Cast" and made:
            node.attribute[0].i = TensorProto.FLOAT
        node.output[:] = [f"{name}:exact" if name in in_fp16 else name for name in node.output]
        nodes.append(node)
        for name in made:
            nodes.append(helper.make_node("Cast", [f"{name}:exact"], [f"{name}:fp16"], to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [f"{name}:fp16"], [name], to=TensorProto.FLOAT))
    for weights in model.graph.initializer:
        if weights.data_type == TensorProto.FLOAT16:
            weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).astype(np.float32), weights.name))
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return model


def _large_tensors(source: Path, model: onnx.ModelProto, calibration: Minibatches) -> set[str]:
    """The names of weights and results that go beyond `LARGEST`."""
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(source, augmented_model_path=str(Path(folder, "ranges.onnx")))
        calibrator.collect_data(CalibrationImages(calibration))
        ranges = {name: np.abs(found.range_value).max() for name, found in calibrator.compute_data().items()}
    floats = (weights for weights in model.graph.initializer if weights.data_type == TensorProto.FLOAT)
    ranges |= {weights.name: np.abs(numpy_helper.to_array(weights)).max(initial=0) for weights in floats}
    # Not `largest > LARGEST`: that would let a nan pass.
    return {name for name, largest in ranges.items() if not largest <= LARGEST}
