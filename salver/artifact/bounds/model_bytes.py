"""What an ONNX file holds, read from its bytes before anything is made of them.

onnxruntime opens whatever file a model names: a tensor may say that its numbers lie in another one, by a relative path,
or at an address in memory. So a file is walked from end to end, without `onnx`, and refused unless

* every field is one of `onnx_messages`, in its own wire type, and lies inside its message. protobuf
  reads over what it does not know, and another version of it may know more;
* what may stand once stands once: protobuf merges a second `graph` into the first;
* no tensor, wherever it stands, keeps its numbers elsewhere;
* every operator and function is ONNX's own, which is all that Salver writes. Others load engines and libraries;
* names are short, and parts few and nested a few levels deep.

The walk takes time by the number of parts, not by their length: a file of 200 MiB takes a few milliseconds.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from salver.artifact.bounds.onnx_messages import MESSAGES, Field
from salver.artifact.bounds.wire import BYTES, VARINT, WIDTHS, NoVarint, fields, places, varint
from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import OUTPUT_NAME
from salver.text import printable

MAX_MODEL_BYTES = 2**31 - 1
"""protobuf's own limit."""
MAX_PARTS = 300_000
"""Fields of all messages together: many times what the largest net has as int8. So many take at most half a second."""
MAX_DEPTH = 40
"""Messages inside each other; a graph in a branch of a graph is three levels."""
DOMAINS = (b"", b"ai.onnx")
"""Of operators: two names for ONNX's own."""

_GRAPH, _METADATA = 7, 14  # onnx.proto: of ModelProto
_NODE, _GIVEN_UP, _INITIALIZER, _OUTPUTS = 1, 3, 5, 12  # of GraphProto
_VALUE_NAME, _TENSOR_NAME = 1, 8  # of ValueInfoProto and TensorProto
_INPUT, _OUTPUT, _OP_TYPE, _ATTRIBUTE = 1, 2, 4, 5  # of NodeProto
_BRANCHES = 6, 11  # of AttributeProto: a graph, and graphs
_KEY, _VALUE = 1, 2  # of StringStringEntryProto

_ORT_FORMAT = "it is in onnxruntime's own format (.ort): give the .onnx file that it was made from"
_PAGE = "it is a page (HTML or XML) in the file's place: look at the address that it was fetched from"
_GIVE_OURS = "give the model.onnx that 'salver train' wrote"
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ORTM", _ORT_FORMAT),
    (0, b"version https://git-lfs", "it is a pointer of Git LFS and not the file: run 'git lfs pull'"),
    (0, b"PK\3\4", f"it is a zip archive, as torch.save writes: {_GIVE_OURS}"),
    (0, b"\x1f\x8b", "it is compressed by gzip: unpack it first"),
    (0, b"\x80", f"it is a pickle, which is never opened: {_GIVE_OURS}"),
    (8, b'{"', f"it is a safetensors file, which has no graph: {_GIVE_OURS}"),
    (0, b"{", f"it is JSON: {_GIVE_OURS}"),
)
"""What is often taken for a model file: the first bytes, where they stand, and what to do.

Not for the words alone: onnxruntime tells its own format by these bytes, and one file can be both.
"""


@dataclass(frozen=True)
class Graph:
    """What is to be known of a file that was found to be in order."""

    metadata: Mapping[str, str]
    ends_in_softmax: bool
    """The node that makes the output `logits` is a Softmax."""


def read_graph(data: bytes) -> Graph:
    """Walk a whole ONNX file. Raises ModelFileError, whose text goes on behind the file's name and a colon."""
    if not data:
        _refuse("it is empty: a copy or a download did not end")
    for at, mark, words in _OTHERS:
        if data.startswith(mark, at):
            _refuse(words)
    if data[:64].lstrip().startswith(b"<"):
        _refuse(_PAGE)
    try:
        _Walk(data).message("Model", 0, len(data))
    except NoVarint as error:
        _refuse(f"it was cut, or is not an ONNX file: no number ends at byte {error.args[0]:,} of {len(data):,}")
    model = memoryview(data)
    if not any(fields(model, _GRAPH)):
        _refuse("it holds no graph: it was cut, or is not an ONNX file")
    return Graph(_metadata(model), _ends_in_softmax(model))


def only_outputs(data: bytes, names: Collection[str]) -> bytes:
    """The same file, found to be in order, whose graph gives those of its outputs and computes nothing else.

    onnxruntime computes every node of a graph, asked for or not
    (https://github.com/microsoft/onnxruntime/issues/16013). What is not wanted gets the number of a field that ONNX has
    given up, which protobuf reads over.
    """
    model, changed = memoryview(data), bytearray(data)
    wanted = {name.encode() for name in names}
    for _, begin, end in places(model, _GRAPH):
        graph = model[begin:end]
        for tag, start, stop in places(graph, _OUTPUTS):
            if wanted.isdisjoint(map(bytes, fields(graph[start:stop], _VALUE_NAME))):
                changed[begin + tag] = _GIVEN_UP << 3 | BYTES
        for tag, start, stop in reversed(list(places(graph, _NODE))):  # in the order of computing, so backwards
            node = graph[start:stop]
            if wanted.isdisjoint(map(bytes, fields(node, _OUTPUT))):
                changed[begin + tag] = _GIVEN_UP << 3 | BYTES
            else:
                wanted.update(map(bytes, fields(node, _INPUT)))
                wanted.update(_named_inside(node))
        for tag, start, stop in places(graph, _INITIALIZER):
            if wanted.isdisjoint(map(bytes, fields(graph[start:stop], _TENSOR_NAME))):
                changed[begin + tag] = _GIVEN_UP << 3 | BYTES
    return bytes(changed)


def _named_inside(node: memoryview) -> Iterator[bytes]:
    """What the graphs of its branches read, which may stand around it."""
    for attribute in fields(node, _ATTRIBUTE):
        for number in _BRANCHES:
            for graph in fields(attribute, number):
                for inner in fields(graph, _NODE):
                    yield from map(bytes, fields(inner, _INPUT))
                    yield from _named_inside(inner)


class _Walk:
    """Through all messages of a file, each inside its own length. Raises ModelFileError and NoVarint."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parts = 0
        self._place: list[str] = []

    def message(self, kind: str, at: int, end: int) -> None:
        """Through the bytes from `at` to `end`."""
        data, known, seen = self._data, MESSAGES[kind], 0
        if len(self._place) > MAX_DEPTH:
            _refuse(f"its messages are nested more than {MAX_DEPTH} levels deep, as in no file of Salver's")
        while at < end:
            self._parts += 1
            if self._parts > MAX_PARTS:
                _refuse(f"it has more than {MAX_PARTS:,} parts, as no file of Salver's has")
            tag = data[at]
            field = known.get(tag) if tag < 0x80 else None
            if field is not None:
                at += 1
            else:  # a number above 15 takes two bytes
                tag, after = varint(data, at, end)
                field = known.get(tag) or self._refuse_tag(tag, at)
                at = after
            if field.once:
                if field.once & seen:
                    self._refuse(field, "stands twice where it may stand once")
                seen |= field.once
            at = self._value(field, tag & 7, at, end)

    def _value(self, field: Field, wire: int, at: int, end: int) -> int:
        """Where it ends."""
        if wire == VARINT:
            value, stop = varint(self._data, at, end)
            if value and field.rule == "inline":
                self._refuse_external()
            return stop
        length, at = varint(self._data, at, end) if wire == BYTES else (WIDTHS[wire], at)
        stop = at + length
        if stop > end:
            self._refuse_end(field, at)
        if field.message:
            self._place.append(field.name)
            self.message(field.message, at, stop)
            self._place.pop()
        elif length > field.most:
            self._refuse(field, f"has {length:,} bytes; the limit is {field.most:,}")
        elif field.rule == "inline":
            self._refuse_external()
        elif field.rule == "domain" and self._data[at:stop] not in DOMAINS:
            name = self._data[at : min(stop, at + 100)].decode("utf-8", "replace")
            self._refuse(field, f"is '{name}', and only ONNX's own operators are run")
        return stop

    def _refuse_external(self) -> NoReturn:
        _refuse(
            f"the tensor {'.'.join(self._place)} has its numbers outside the file, and no other file is opened for a "
            "model: save it as one"
        )

    def _refuse_end(self, field: Field, at: int) -> NoReturn:
        place = ".".join([*self._place, field.name])
        _refuse(
            f"it was cut, or is not an ONNX file: {place} at byte {at:,} of {len(self._data):,} goes beyond its end"
        )

    def _refuse_tag(self, tag: int, at: int) -> NoReturn:
        where = f" in {'.'.join(self._place)}" if self._place else ""
        _refuse(f"it is not an ONNX file as Salver writes it: byte {at:,}{where} begins the unknown field {tag}")

    def _refuse(self, field: Field, words: str) -> NoReturn:
        _refuse(printable(f"{'.'.join([*self._place, field.name])} {words}"))


def _refuse(words: str) -> NoReturn:
    raise ModelFileError(f"{words}.")


def _metadata(model: memoryview) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for entry in fields(model, _METADATA):
        try:
            key, value = ("".join(str(part, "utf-8") for part in fields(entry, number)) for number in (_KEY, _VALUE))
        except UnicodeDecodeError:
            _refuse("its metadata is not UTF-8")
        if key in found:
            _refuse(f"its metadata has '{printable(key)}' twice")
        found[key] = value
    return found


def _ends_in_softmax(model: memoryview) -> bool:
    name = OUTPUT_NAME.encode()
    for graph in fields(model, _GRAPH):
        for node in fields(graph, _NODE):
            if any(made == name for made in fields(node, _OUTPUT)):
                return any(bytes(op_type) == b"Softmax" for op_type in fields(node, _OP_TYPE))
    return False
