"""One look into the ONNX graph that onnxruntime's Python API does not offer: does it end in a softmax?

Reads protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) so that the image needs no `onnx`.
onnxruntime has parsed the same bytes before, so they are well formed here.
"""

from collections.abc import Iterator

VARINT, BYTES = 0, 2  # of the wire types
WIDTHS = {1: 8, 5: 4}  # bytes of the fixed ones; what is left are the marks around a group, which have none
MODEL_GRAPH = 7  # onnx.proto: ModelProto.graph
GRAPH_NODE = 1  # GraphProto.node
NODE_OUTPUT, NODE_OP_TYPE = 2, 4  # NodeProto.output, NodeProto.op_type


def ends_in_softmax(model: bytes, output: str) -> bool:
    """Whether the node that makes `output` is a Softmax."""
    name = output.encode()
    for graph in _fields(memoryview(model), MODEL_GRAPH):
        for node in _fields(graph, GRAPH_NODE):
            if any(bytes(made) == name for made in _fields(node, NODE_OUTPUT)):
                return any(bytes(op_type) == b"Softmax" for op_type in _fields(node, NODE_OP_TYPE))
    return False


def _fields(message: memoryview, number: int) -> Iterator[memoryview]:
    """The length-delimited fields of that number, without copying or descending into the others."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire_type = tag & 7
        if wire_type == BYTES:
            length, at = _varint(message, at)
            if tag >> 3 == number:
                yield message[at : at + length]
            at += length
        elif wire_type == VARINT:
            _, at = _varint(message, at)
        else:
            at += WIDTHS.get(wire_type, 0)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
