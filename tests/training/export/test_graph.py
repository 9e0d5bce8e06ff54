"""The walk over a net's layers, held against the net itself and against torch's exporter."""

from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from salver.artifact.bounds.model_bytes import only_outputs, read_graph
from salver.artifact.manifest import OUTPUT_NAMES, OutputName
from training.export.graph import IR_VERSION, OPSET, by_exporter, by_walk, graphs
from training.export.outputs import OutputNet
from training.export.trunk import UnknownLayer
from training.fit.features.familiarity import Plane
from training.nets.nets import PixelNet, build_net, pixel_spec

pytestmark = pytest.mark.torch

SIZES: dict[str, int | tuple[int, int]] = {"mobilenet_v2": (64, 96), "resnet18": 64, "resnet50": 64, "alexnet": 224}


def output_net(base: str, wanted: tuple[OutputName, ...] = OUTPUT_NAMES) -> OutputNet:
    """With statistics of batch normalisation that a wrong folding would show."""
    torch.manual_seed(0)
    net = build_net(base, 3, "none")
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for numbers, low, high in (
                (layer.running_mean, -0.3, 0.3),
                (layer.running_var, 0.5, 2.0),
                (layer.weight.data, 0.8, 1.2),
                (layer.bias.data, -0.2, 0.2),
            ):
                assert numbers is not None
                numbers.uniform_(low, high)
    width = net.head.in_features
    plane = Plane(torch.randn(width) * 0.01, torch.linalg.qr(torch.randn(width, 5))[0])
    return OutputNet(PixelNet(net), plane, wanted).eval()


def differences(net: OutputNet, model: bytes, height: int, width: int, batch: int) -> Iterator[float]:
    """Of each output, as a share of its largest value."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(net.names)
    for served, wanted in zip(session.run(None, {"pixels": pixels}), net.answers(pixels).values(), strict=True):
        assert served.shape == wanted.shape
        yield float(np.abs(served - wanted).max() / max(1.0, np.abs(wanted).max()))


@pytest.mark.slow
@pytest.mark.parametrize("base", SIZES)
def test_the_walk_gives_what_the_net_gives_for_any_batch(base: str) -> None:
    net, spec = output_net(base), pixel_spec(SIZES[base])
    model = by_walk(net, spec)
    data = model.SerializeToString()
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET)
    read_graph(data)
    for batch in (1, 2, 5):
        assert max(differences(net, data, spec.height, spec.width, batch)) < 1e-5


def test_weights_that_two_outputs_share_stand_in_the_file_once() -> None:
    net = output_net("resnet18")
    model = by_walk(net, pixel_spec(64))
    names = [weights.name for weights in model.graph.initializer]
    assert len(names) == len(set(names))
    assert {"net.net.head.weight", "familiarity.centre", "familiarity.directions"} <= set(names)
    floats = sum(parameter.numel() for parameter in net.parameters()) + net.net.net.head.in_features * 6
    assert len(model.SerializeToString()) < 4 * floats + 40_000


@pytest.mark.parametrize("wanted", [("logits",), ("logits", "familiarity"), ("logits", "heat")])
def test_the_outputs_are_those_that_were_asked_for(wanted: tuple[OutputName, ...]) -> None:
    net = output_net("resnet18", wanted)
    assert max(differences(net, by_walk(net, pixel_spec(64)).SerializeToString(), 64, 64, 2)) < 1e-5


def test_one_output_can_be_cut_out_of_the_graph() -> None:
    net = output_net("resnet18")
    data = by_walk(net, pixel_spec(64)).SerializeToString()
    alone = output_net("resnet18", ("logits",))
    assert max(differences(alone, only_outputs(data, ["logits"]), 64, 64, 2)) < 1e-5


def test_nothing_of_this_machine_stands_in_the_file() -> None:
    model = by_walk(output_net("resnet18"), pixel_spec(64))
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b"/" not in b"".join(node.name.encode() for node in model.graph.node)


def test_a_pooling_of_unequal_parts_is_refused() -> None:
    with pytest.raises(UnknownLayer, match="AdaptiveAvgPool2d"):
        by_walk(output_net("alexnet"), pixel_spec(64))


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(512, 512, 1, padding="same"), nn.BatchNorm2d(512), nn.GELU(), nn.Sequential(nn.Hardswish())]
)
def test_a_layer_that_the_walk_does_not_know_is_refused(layer: nn.Module) -> None:
    net = output_net("resnet18")
    net.net.net.backbone.layer4.append(layer.eval())  # type: ignore[operator, union-attr]
    with pytest.raises(UnknownLayer):
        by_walk(net, pixel_spec(64))


@pytest.mark.soak
def test_what_the_walk_refuses_the_exporter_writes() -> None:
    net, spec = output_net("alexnet"), pixel_spec(64)
    (model,) = graphs(net, spec)
    assert max(differences(net, model.SerializeToString(), 64, 64, 3)) < 1e-5


@pytest.mark.soak
@pytest.mark.parametrize("base", ["mobilenet_v2", "resnet18"])
def test_the_file_of_the_walk_is_no_larger_than_that_of_the_exporter(base: str) -> None:
    net, spec = output_net(base), pixel_spec(64)
    ours, theirs = (onnx.ModelProto.ByteSize(make(net, spec)) for make in (by_walk, by_exporter))
    assert ours <= theirs
