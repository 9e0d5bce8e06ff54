"""Model files as a stranger might make them: good ones with one thing changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.support.models import OPSET, probe

Edit = Callable[[onnx.ModelProto], object]


def edited(path: Path, edit: Edit) -> Path:
    """The model file after `edit`."""
    model = onnx.load(path, load_external_data=False)
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


def strange(path: Path, edit: Edit) -> Path:
    """A probe after `edit`."""
    return edited(probe(path), edit)


def elsewhere(location: str = "secret", shape: tuple[int, ...] = (4,), name: str = "stolen") -> TensorProto:
    """A tensor whose numbers lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def reaches_out(message: Message) -> bool:
    """Whether the package `onnx` finds a tensor of another file in it, or an operator that is not ONNX's own."""
    if isinstance(message, TensorProto) and (message.data_location or message.external_data):
        return True
    if isinstance(message, onnx.NodeProto | onnx.FunctionProto) and message.domain not in ("", "ai.onnx"):
        return True
    inner = [value for field, value in message.ListFields() if field.message_type is not None]
    return any(
        reaches_out(each) for value in inner for each in ([value] if isinstance(value, Message) else list(value))
    )


def constant_node(tensor: TensorProto, output: str = "stolen") -> onnx.NodeProto:
    return helper.make_node("Constant", [], [output], value=tensor)


def branch(*nodes: onnx.NodeProto, initializer: TensorProto | None = None) -> onnx.GraphProto:
    graph = helper.make_graph(
        list(nodes), "branch", [], [helper.make_tensor_value_info("stolen", TensorProto.FLOAT, [4])]
    )
    if initializer is not None:
        graph.initializer.append(initializer)
    return graph


def condition(then: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["yes"], ["chosen"], then_branch=then, else_branch=then)


def with_attribute(**changes: object) -> onnx.NodeProto:
    """A node whose attribute holds that, whatever the operator takes."""
    node = helper.make_node("Identity", ["scaled"], ["same"])
    node.attribute.append(AttributeProto(name="a", **changes))  # type: ignore[arg-type]
    return node


def sparse(values: TensorProto | None = None, indices: TensorProto | None = None) -> onnx.SparseTensorProto:
    given = numpy_helper.from_array(np.ones(4, np.float32), "stolen")
    return onnx.SparseTensorProto(values=values or given, indices=indices or given, dims=[4])


def function(*nodes: onnx.NodeProto, domain: str = "") -> onnx.FunctionProto:
    return helper.make_function(domain, "f", [], ["stolen"], list(nodes), [helper.make_opsetid("", OPSET)])


def _training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.CopyFrom(branch(constant_node(elsewhere())))


def _without_location(model: onnx.ModelProto) -> None:
    tensor = elsewhere()
    tensor.ClearField("data_location")
    model.graph.initializer.append(tensor)


def _nodes(*nodes: onnx.NodeProto) -> Edit:
    return lambda model: model.graph.node.extend(nodes)


READERS_OF_FILES: dict[str, Edit] = {
    "an initializer": lambda model: model.graph.initializer.append(elsewhere()),
    "an absolute path": lambda model: model.graph.initializer.append(elsewhere("/etc/hostname")),
    "an address in memory": lambda model: model.graph.initializer.append(elsewhere("*/_ORT_MEM_ADDR_/*")),
    "a path without the mark": _without_location,
    "a constant": _nodes(constant_node(elsewhere())),
    "tensors": _nodes(with_attribute(tensors=[elsewhere()])),
    "a sparse tensor": _nodes(with_attribute(sparse_tensor=sparse(values=elsewhere()))),
    "sparse tensors": _nodes(with_attribute(sparse_tensors=[sparse(indices=elsewhere())])),
    "a sparse initializer": lambda model: model.graph.sparse_initializer.append(sparse(values=elsewhere())),
    "a branch": _nodes(condition(branch(constant_node(elsewhere())))),
    "a branch's initializer": _nodes(condition(branch(initializer=elsewhere()))),
    "a branch of a branch": _nodes(condition(branch(condition(branch(constant_node(elsewhere())))))),
    "graphs": _nodes(with_attribute(graphs=[branch(constant_node(elsewhere()))])),
    "a function": lambda model: model.functions.append(function(constant_node(elsewhere()))),
    "training": _training,
}
"""Where a tensor may stand whose numbers lie in the file `secret`, four floats long."""
