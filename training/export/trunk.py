"""The layers of a net up to its features as ONNX nodes, by a walk through what torch.fx traces.

The nets consist of a few kinds of layers, so that a walk over them does in a tenth of a second what torch's newer
exporter takes 6 to 22 s of a core for and its older one 2 to 3 s (MobileNetV2; docs/training.md).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.nets.nets import Net

Attribute = int | Sequence[int]


class UnknownLayer(Exception):
    """The walk has no node for it."""


class Nodes:
    """Of a graph that is being written, and its constants, each of which stands once."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Tensor | NDArray[Any]) -> str:
        """Its name. One that is there already stays."""
        if name not in self.constants:
            array = value.detach().contiguous().numpy() if isinstance(value, Tensor) else value
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def whole(self, *numbers: int) -> str:
        """A constant int64 [numbers], such as axes."""
        return self.constant(f"whole {' '.join(map(str, numbers))}", np.array(numbers, np.int64))

    def number(self, value: float) -> str:
        """A constant float32 []."""
        return self.constant(f"number {value:g}", np.array(value, np.float32))

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Attribute) -> str:
        """A node with one output, whose name is given back."""
        self.nodes.append(
            helper.make_node(kind, list(inputs), [output], f"{kind} {output}", None, None, None, **attributes)
        )
        return output


def write_trunk(net: Net, nodes: Nodes, images: str, example: Tensor, *, prefix: str) -> str:
    """Add what makes of `images` the net's map of cells, or its features where it has no map: the output's name.

    `example` is one normalised image, float [1, 3, height, width]; `prefix` stands before the names of weights. Raises
    UnknownLayer.
    """
    trunk = _Trunk(net)
    graph = fx.Tracer().trace(trunk)
    walk = _Walk(fx.GraphModule(trunk, graph), nodes, images, prefix)
    walk.run(example)
    return walk.last


class _Trunk(nn.Module):
    """What is traced."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net.map(images) if self.net.has_map else cast(Tensor, self.net.backbone(images))


class _Walk(fx.Interpreter):
    """Computes each layer for the example, which gives the sizes, and writes its node."""

    def __init__(self, module: fx.GraphModule, nodes: Nodes, images: str, prefix: str) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.last = images
        self._nodes, self._prefix = nodes, prefix
        self._names: dict[fx.Node, str] = {}
        self._sizes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """What the layer gives for the example."""
        with torch.inference_mode():
            found = super().run_node(n)
        if n.op == "placeholder":
            self._names[n] = self.last
        elif n.op == "output":
            self.last = self._names[n.all_input_nodes[0]]
        else:
            self._sizes[n] = tuple(found.shape)
            self._names[n] = self._written(n)
        return found

    def _written(self, node: fx.Node) -> str:
        if node.op == "call_module":
            layer = self.module.get_submodule(str(node.target))
            if (write := _LAYERS.get(type(layer))) is not None:
                return write(self, node, layer)
            raise UnknownLayer(type(layer).__name__)
        kind = _FUNCTIONS.get(str(getattr(node.target, "__name__", node.target))) if node.op == "call_function" else ""
        if kind == "Add" and len(node.all_input_nodes) == 2 and not node.kwargs:
            return self._add("Add", node)
        if kind == "Flatten" and node.args[1:] == (1,) and not node.kwargs:
            return self._add("Flatten", node, axis=1)
        raise UnknownLayer(f"{node.op} {node.target}")

    def _add(self, kind: str, node: fx.Node, *constants: str, **attributes: Attribute) -> str:
        inputs = [self._names[one] for one in node.all_input_nodes]
        return self._nodes.add(kind, [*inputs, *constants], node.name, **attributes)

    def _weights(self, node: fx.Node, layer: nn.Module) -> list[str]:
        path = f"{self._prefix}{str(node.target).removeprefix('net.')}"
        given = {name: weights for name in ("weight", "bias") if (weights := getattr(layer, name)) is not None}
        return [self._nodes.constant(f"{path}.{name}", weights) for name, weights in given.items()]

    def convolution(self, node: fx.Node, layer: nn.Module) -> str:
        """With the batch normalisation behind it, whose statistics stand still by now, in its weights."""
        assert isinstance(layer, nn.Conv2d)
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            raise UnknownLayer(f"Conv2d with the padding {layer.padding} of {layer.padding_mode}")
        normalisation = self._folded(node)
        if normalisation is not None:
            layer = fuse_conv_bn_eval(layer, normalisation)
        return self._add(
            "Conv",
            node,
            *self._weights(node, layer),
            kernel_shape=layer.kernel_size,
            strides=layer.stride,
            pads=(*cast(tuple[int, ...], layer.padding), *cast(tuple[int, ...], layer.padding)),
            dilations=layer.dilation,
            group=layer.groups,
        )

    def normalisation(self, node: fx.Node, layer: nn.Module) -> str:
        """Nothing is left of one that was folded."""
        source = node.all_input_nodes[0]
        if source.op != "call_module" or self._folded(source) is not layer:
            raise UnknownLayer("BatchNorm2d that no convolution stands before")
        return self._names[source]

    def _folded(self, node: fx.Node) -> nn.BatchNorm2d | None:
        """The batch normalisation that alone uses what the convolution at `node` gives."""
        if not isinstance(self.module.get_submodule(str(node.target)), nn.Conv2d) or len(node.users) != 1:
            return None
        (user,) = node.users
        found = self.module.get_submodule(str(user.target)) if user.op == "call_module" else None
        return found if isinstance(found, nn.BatchNorm2d) else None

    def linear(self, node: fx.Node, layer: nn.Module) -> str:
        return self._add("Gemm", node, *self._weights(node, layer), transB=1)

    def relu(self, node: fx.Node, _: nn.Module) -> str:
        return self._add("Relu", node)

    def relu6(self, node: fx.Node, _: nn.Module) -> str:
        return self._add("Clip", node, self._nodes.number(0), self._nodes.number(6))

    def nothing(self, node: fx.Node, _: nn.Module) -> str:
        """What changes nothing in evaluation mode."""
        return self._names[node.all_input_nodes[0]]

    def largest(self, node: fx.Node, layer: nn.Module) -> str:
        assert isinstance(layer, nn.MaxPool2d)
        kernel, stride, padding, dilation = (
            (value, value) if isinstance(value, int) else value
            for value in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        )
        return self._add(
            "MaxPool",
            node,
            kernel_shape=kernel,
            strides=stride,
            pads=(*padding, *padding),
            dilations=dilation,
            ceil_mode=int(layer.ceil_mode),
        )

    def mean(self, node: fx.Node, _: nn.Module) -> str:
        """Of equal parts of the map; where they are unequal, ONNX has no layer for it."""
        before, after = self._sizes[node.all_input_nodes[0]][2:], self._sizes[node][2:]
        parts = [divmod(old, new) for old, new in zip(before, after, strict=True)]
        if any(rest for _, rest in parts):
            raise UnknownLayer(f"AdaptiveAvgPool2d from {before} to {after}")
        sides = [side for side, _ in parts]
        if sides == [1, 1]:
            return self._names[node.all_input_nodes[0]]
        return self._add("AveragePool", node, kernel_shape=sides, strides=sides)


_LAYERS: Final[Mapping[type[nn.Module], Callable[[_Walk, fx.Node, nn.Module], str]]] = {
    nn.Conv2d: _Walk.convolution,
    nn.BatchNorm2d: _Walk.normalisation,
    nn.Linear: _Walk.linear,
    nn.ReLU: _Walk.relu,
    nn.ReLU6: _Walk.relu6,
    nn.MaxPool2d: _Walk.largest,
    nn.AdaptiveAvgPool2d: _Walk.mean,
    nn.Dropout: _Walk.nothing,
    nn.Identity: _Walk.nothing,
}
_FUNCTIONS: Final = {"add": "Add", "iadd": "Add", "flatten": "Flatten"}
