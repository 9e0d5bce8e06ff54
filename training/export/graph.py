"""The net as an ONNX graph: uint8 `pixels` [batch, height, width, 3] to its outputs by their names, any batch size."""

from collections.abc import Iterator
from contextlib import suppress

import onnx
import torch
from onnx import TensorProto, helper

from salver.artifact.manifest import INPUT_NAME, OutputName, PixelSpec
from training.export.outputs import OutputNet
from training.export.trunk import Nodes, UnknownLayer, write_trunk

OPSET = 18
IR_VERSION = 10
"""onnxruntime reads these since 1.18 (2024)."""
_LARGEST_EXPORTED_BATCH = 4096


def graphs(net: OutputNet, spec: PixelSpec) -> Iterator[onnx.ModelProto]:
    """Ways to the same file, the cheapest first: the next is tried where the gate refuses one."""
    with suppress(UnknownLayer):
        yield by_walk(net, spec)
    yield by_exporter(net, spec)


def by_walk(net: OutputNet, spec: PixelSpec) -> onnx.ModelProto:
    """By `training.export.trunk`, in a tenth of a second. Raises UnknownLayer, as for AlexNet's pooling at most image
    sizes.
    """
    nodes, shapes = Nodes(), net.shapes(spec)
    trained = net.net.net
    images = nodes.add("Cast", [nodes.add("Transpose", [INPUT_NAME], "images", perm=(0, 3, 1, 2))], "floats", to=1)
    images = nodes.add("Sub", [images, nodes.constant("net.mean", net.net.mean)], "centred")
    images = nodes.add("Div", [images, nodes.constant("net.std", net.net.std)], "normalised")
    example = net.net.normalise(torch.zeros((1, spec.height, spec.width, 3), dtype=torch.uint8))
    found = write_trunk(trained, nodes, images, example, prefix="net.net.")
    if trained.has_map:
        features = nodes.add("ReduceMean", [found, nodes.whole(2, 3)], "features", keepdims=0)
    else:
        features = nodes.add("Identity", [found], "features")
    weight = nodes.constant("net.net.head.weight", trained.head.weight)
    bias = nodes.constant("net.net.head.bias", trained.head.bias)
    nodes.add("Gemm", [features, weight, bias], "logits", transB=1)
    if "familiarity" in net.names:
        _add_familiarity(net, nodes, features)
    if "heat" in net.names:
        _add_heat(nodes, found, weight, shapes["heat"])
    graph = helper.make_graph(
        nodes.nodes,
        "net",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", spec.height, spec.width, 3])],
        [_output(name, shapes[name]) for name in net.names],
        list(nodes.constants.values()),
    )
    model = helper.make_model(graph, producer_name="salver", opset_imports=[helper.make_opsetid("", OPSET)])
    return _checked(model)


def _add_familiarity(net: OutputNet, nodes: Nodes, features: str) -> None:
    """As `training.fit.features.familiarity.Plane` computes it."""
    assert net.familiarity is not None
    centre = nodes.constant("familiarity.centre", net.familiarity.centre)
    directions = nodes.constant("familiarity.directions", net.familiarity.directions)
    along = nodes.whole(1)
    largest = nodes.add("ReduceMax", [nodes.add("Abs", [features], "sizes"), along], "largest", keepdims=1)
    scaled = nodes.add("Div", [features, largest], "scaled")
    unit = nodes.add("Div", [scaled, nodes.add("ReduceL2", [scaled, along], "length", keepdims=1)], "unit")
    away = nodes.add("Sub", [unit, centre], "away")
    inside = nodes.add("MatMul", [away, directions], "coordinates")
    inside = nodes.add("Gemm", [inside, directions], "inside", transB=1)
    rest = nodes.add("Sub", [away, inside], "rest")
    distance = nodes.add("ReduceL2", [rest, along], "distance", keepdims=0)
    nodes.add("Sub", [nodes.number(1), distance], "familiarity")


def _add_heat(nodes: Nodes, cells: str, weight: str, shape: tuple[int, ...]) -> None:
    """The last layer applied to each cell of the map, as rows, so that its weights stand in the file once."""
    classes, rows, columns = shape
    last = nodes.add("Transpose", [cells], "cells last", perm=(0, 2, 3, 1))
    width = nodes.constants[weight].dims[1]
    flat = nodes.add("Reshape", [last, nodes.whole(-1, width)], "each cell")
    flat = nodes.add("Gemm", [flat, weight], "heat of each cell", transB=1)
    found = nodes.add("Reshape", [flat, nodes.whole(-1, rows, columns, classes)], "heat last")
    nodes.add("Transpose", [found], "heat", perm=(0, 3, 1, 2))


def _output(name: OutputName, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])


def by_exporter(net: OutputNet, spec: PixelSpec) -> onnx.ModelProto:
    """By torch's newer exporter, which knows every net and takes 6 to 22 s of a core.

    The older one is deprecated, writes shared weights twice and cannot express AlexNet's pooling at most image sizes.
    The batch axis is declared, so that the exporter fails when it would fix it.
    """
    example = torch.zeros((2, spec.height, spec.width, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_EXPORTED_BATCH)
    program = torch.onnx.export(
        net,
        (example,),
        input_names=[INPUT_NAME],
        output_names=list(net.names),
        opset_version=OPSET,
        dynamic_shapes=({0: batch},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # stack traces with the paths of this machine
    return _checked(model)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model
