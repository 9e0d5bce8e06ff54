"""Whether a graph is one that its manifest can speak for: pixels in, logits out, and nothing after them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from salver.artifact.bounds.model_bytes import read_graph
from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import INPUT_NAME, Manifest, OutputName, PixelSpec


class Port(Protocol):
    """An input or output as onnxruntime describes it; an axis of any length is a name, or None."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> Sequence[int | str | None]: ...


class OpenGraph(Protocol):
    """What an onnxruntime session says of the graph that it holds."""

    def get_inputs(self) -> Iterable[Port]: ...
    def get_outputs(self) -> Iterable[Port]: ...


def read_manifest(data: bytes) -> Manifest:
    """The manifest of a whole model file, whose every byte is walked before anything opens it.

    Raises ModelFileError, whose text goes on behind the file's name and a colon: the bytes are not in order, hold no
    manifest, or a graph that ends in a softmax. Its output would be no logits any more: temperature and thresholds
    would mean nothing, and probabilities would go through a softmax twice.
    """
    graph = read_graph(data)
    manifest = Manifest.from_metadata(graph.metadata)
    if graph.ends_in_softmax:
        raise ModelFileError(
            "it ends in a softmax, so its output is no logits and its temperature means nothing. Export it again."
        )
    return manifest


def check_graph(graph: OpenGraph, pixels: PixelSpec, outputs: Mapping[OutputName, tuple[int, ...]]) -> None:
    """Raise ModelFileError unless the graph takes uint8 pixels [batch, height, width, 3] of that size and gives these
    float32 `outputs`, whose shapes are without the batch, in this order and for a batch of any length.
    """
    size = [pixels.height, pixels.width, 3]
    wanted = (
        [(INPUT_NAME, "tensor(uint8)", size)],
        [(name, "tensor(float)", list(shape)) for name, shape in outputs.items()],
    )
    ports = list(graph.get_inputs()), list(graph.get_outputs())
    form = tuple([(port.name, port.type, list(port.shape[1:])) for port in side] for side in ports)
    if form != wanted:
        raise ModelFileError(
            f"The graph's inputs and outputs are {str(form)[:400]} and the manifest asks for {str(wanted)[:400]}, "
            "batch aside: export the model again."
        )
    if any(isinstance(port.shape[0], int) for side in ports for port in side):
        raise ModelFileError("The graph takes batches of one length only: export it again with a free batch axis.")
