"""What is known of an ONNX file before anything is made of it."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from salver.artifact.bounds.model_bytes import MAX_DEPTH, MAX_PARTS, only_outputs, read_graph
from salver.artifact.bounds.onnx_messages import MAX_NAME_BYTES, MESSAGES
from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import METADATA_KEY
from tests.support.models import constant, fixed, probe
from tests.support.strangers import READERS_OF_FILES, Edit, branch, condition, constant_node, function, strange


def number(value: int) -> bytes:
    """As a varint."""
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def field(number_: int, *parts: bytes, wire: int = 2) -> bytes:
    """A field with a length, as protobuf writes it."""
    content = b"".join(parts)
    return number(number_ << 3 | wire) + number(len(content)) + content


def refusal(data: bytes) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_graph(data)
    text = str(caught.value)
    assert len(text) < 400
    assert text.isprintable()
    return text


STOLEN = field(5, b"\x70\x01")  # GraphProto.initializer with TensorProto.data_location = EXTERNAL


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx").read_bytes()


def test_a_good_file_is_read_with_its_metadata(good: bytes) -> None:
    graph = read_graph(good)
    assert list(graph.metadata) == [METADATA_KEY]
    assert not graph.ends_in_softmax


@pytest.mark.parametrize("edit", READERS_OF_FILES.values(), ids=READERS_OF_FILES)
def test_a_tensor_whose_numbers_lie_in_another_file_is_refused_wherever_it_stands(tmp_path: Path, edit: Edit) -> None:
    assert "has its numbers outside the file" in refusal(strange(tmp_path / "m.onnx", edit).read_bytes())


@pytest.mark.parametrize(
    "tail",
    [
        field(7, STOLEN),  # protobuf merges a second graph into the first
        field(7, field(1, field(5, field(5, b"\x70\x01"), field(5, b"")))),
        field(7, field(5, b"\x70\x00\x70\x01")),
        field(7, field(5, b"\x70\x81\x80\x80\x80\x10")),  # 2^32 + 1, of which protobuf keeps the lower half
        field(7, field(5, b"\x70\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
        field(7, field(5, b"\xf0\x80\x00\x01")),  # a tag in three bytes
        field(7, field(5, field(13))),
        field(7, field(5, b"\x6b\x6c")),  # external_data as a group
        b"\x3b" + STOLEN + b"\x3c",  # the graph as a group
        field(7, field(5, field(14, b"\x01"))),  # packed
        b"\xa3\x06\xa4\x06",  # an unknown group
        field(99),
        b"\x00",
        b"\x07",
    ],
)
def test_what_protobuf_reads_otherwise_than_it_seems_is_refused(good: bytes, tail: bytes) -> None:
    read_graph(good)
    refusal(good + tail)


def test_every_cut_of_a_file_is_refused_or_has_nothing_of_a_model(good: bytes) -> None:
    for end in range(0, len(good), 97):
        with suppress(ModelFileError):
            assert METADATA_KEY not in read_graph(good[:end]).metadata


OTHERS = {
    "empty": (b"", "empty"),
    "onnxruntime's format": (b"\x18\0\0\0ORTM" + bytes(100), ".ort"),
    "a page": (b"<!DOCTYPE html><html>", "page"),
    "a page after blank lines": (b"\n\n  <html>", "page"),
    "xml": (b"<?xml version='1.0'?><Error>", "page"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "zip": (b"PK\3\4" + bytes(40), "zip"),
    "pickle": (b"\x80\x04\x95" + bytes(40), "pickle"),
    "safetensors": ((30).to_bytes(8, "little") + b'{"__metadata__":{}}', "safetensors"),
    "gzip": (b"\x1f\x8b\x08\0", "gzip"),
    "json": (b'{"a": 1}', "JSON"),
    "text": (b"root:x:0:0:root", "not an ONNX file"),
    "zeros": (bytes(1000), "not an ONNX file"),
    "ones": (b"\xff" * 1000, "not an ONNX file"),
    "no graph": (b"\x08\x0a", "no graph"),
}


@pytest.mark.parametrize(("data", "words"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_onnx_file_is_refused_by_what_it_is(data: bytes, words: str) -> None:
    assert words in refusal(data)


def test_a_file_that_is_also_one_of_onnxruntimes_own_format_is_refused(good: bytes) -> None:
    both = b"\x12\x06" + b"\0\0ORTM" + good[good.index(b"\x3a") :]
    assert ".ort" in refusal(both)


@pytest.mark.parametrize("domain", ["strange", "com.microsoft", "ai.onnx.ml", "\x1b[2J" * 50])
def test_an_operator_or_function_that_is_not_onnxs_own_is_refused(tmp_path: Path, domain: str) -> None:
    """com.microsoft has EPContext, which loads an engine from a path."""
    node = helper.make_node("EPContext", [], ["stolen"], domain=domain)
    edits: list[Edit] = [
        lambda model: model.graph.node.append(node),
        lambda model: model.graph.node.append(condition(branch(node))),
        lambda model: model.functions.append(function(domain=domain)),
        lambda model: model.functions.append(function(node)),
    ]
    for edit in edits:
        assert "only ONNX's own operators" in refusal(strange(tmp_path / "m.onnx", edit).read_bytes())


def test_onnxs_own_domain_may_be_named_and_functions_of_it_used(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[0].domain = "ai.onnx"
        model.functions.append(function(constant_node(helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]))))

    read_graph(strange(tmp_path / "m.onnx", edit).read_bytes())


LONG = "a" * (MAX_NAME_BYTES + 1)


def _long_dimension(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = LONG


@pytest.mark.parametrize(
    "edit",
    [
        lambda model: setattr(model.graph.input[0], "name", LONG),
        lambda model: setattr(model.graph.output[0], "name", "\x1b" * 2**20),
        _long_dimension,
        lambda model: setattr(model.graph.node[0], "op_type", LONG),
        lambda model: model.graph.node[0].input.append(LONG),
        lambda model: setattr(model.graph.initializer[0], "name", LONG),
        lambda model: model.metadata_props.add(key=LONG),
        lambda model: setattr(model.opset_import[0], "domain", LONG),
    ],
)
def test_a_name_of_more_than_a_kilobyte_is_refused(tmp_path: Path, edit: Edit) -> None:
    assert "the limit is 1,024" in refusal(strange(tmp_path / "m.onnx", edit).read_bytes())


def test_metadata_under_one_name_twice_is_refused(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.metadata_props.add(key=METADATA_KEY, value="{}")

    assert "twice" in refusal(strange(tmp_path / "m.onnx", edit).read_bytes())


def test_messages_inside_each_other_without_end_are_refused() -> None:
    inner = b""
    for _ in range(MAX_DEPTH):
        inner = field(1, field(5, field(6, inner)))
    assert "levels deep" in refusal(field(7, inner))
    kind = b""
    for _ in range(MAX_DEPTH):
        kind = field(4, field(1, kind))
    assert "levels deep" in refusal(field(7, field(11, field(2, kind))))


SMALL: dict[str, Callable[[int], bytes]] = {
    "dimensions": lambda count: field(7, field(5, b"\x08\x01" * count)),
    "inputs": lambda count: field(7, field(1, b"\x0a\x00" * count)),
    "nodes": lambda count: field(7, b"\x0a\x00" * count),
    "long numbers": lambda count: field(7, field(5, (b"\x08" + b"\x80" * 9 + b"\x01") * count)),
    "graphs in graphs": lambda count: field(7, field(1, field(5, field(6))) * (count // 4)),
}


@pytest.mark.timed
@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_no_file_costs_more_than_a_second_of_cpu(make: Callable[[int], bytes]) -> None:
    largest = make(MAX_PARTS - 4)
    begun = time.process_time()
    read_graph(largest)
    assert time.process_time() - begun < 1.5  # half of that by itself, and room for a slow machine
    assert "parts" in refusal(make(2 * MAX_PARTS))


@pytest.mark.timed
def test_two_hundred_megabytes_of_weights_take_a_few_milliseconds(good: bytes) -> None:
    large = good + field(25, field(7, field(5, field(5, field(9, bytes(200 * 2**20))))))
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        read_graph(large)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.05


def test_the_softmax_that_makes_the_logits_is_seen_and_no_other(tmp_path: Path) -> None:
    assert read_graph(constant(tmp_path / "a.onnx", [2, 1], softmax=True).read_bytes()).ends_in_softmax
    inside = strange(
        tmp_path / "b.onnx", lambda model: model.graph.node.append(helper.make_node("Softmax", ["scaled"], ["unused"]))
    )
    assert not read_graph(inside.read_bytes()).ends_in_softmax


def test_the_messages_are_those_of_onnx() -> None:
    """Each field with the number, the wire type and the message that the package `onnx` has; few are left out."""
    left_out = {"configuration", "device_configurations", "segment"}
    for kind in ("Model", "Graph", "Node", "Attribute", "Tensor", "Function"):
        descriptor = getattr(onnx, f"{kind}Proto").DESCRIPTOR
        known = {tag >> 3: entry for tag, entry in MESSAGES[kind].items()}
        assert {entry.name for entry in descriptor.fields} - {entry.name for entry in known.values()} <= left_out
        for entry in descriptor.fields:
            if entry.name not in left_out:
                assert known[entry.number].name == entry.name
                assert bool(known[entry.number].once) != entry.is_repeated or entry.name == "external_data"
                assert bool(known[entry.number].message) == (entry.message_type is not None) or (
                    entry.name == "external_data"
                )


def test_a_file_with_many_labels_and_every_kind_of_attribute_is_read(tmp_path: Path) -> None:
    """The neighbours of the limits."""

    def edit(model: onnx.ModelProto) -> None:
        values = {"f": 1.5, "i": 3, "s": b"\xff", "floats": [1.0], "ints": [-1, 2], "strings": [b"a"]}
        model.graph.node[0].attribute.extend([helper.make_attribute(name, value) for name, value in values.items()])
        model.graph.node[0].doc_string = "why " * 10_000
        model.graph.initializer.append(helper.make_tensor("t", TensorProto.DOUBLE, [1], [1.0]))
        model.graph.initializer.append(TensorProto(name="u", data_location=TensorProto.DEFAULT))
        model.graph.value_info.append(helper.make_tensor_value_info("v", TensorProto.FLOAT, ["batch", 3]))
        sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"]))
        model.graph.value_info.append(helper.make_value_info("w", sequence))
        model.graph.metadata_props.add(key="a", value="b")
        model.training_info.add()

    fixed(tmp_path / "many.onnx", {f"label {n}": float(n % 7) for n in range(3000)})
    read_graph((tmp_path / "many.onnx").read_bytes())
    read_graph(strange(tmp_path / "m.onnx", edit).read_bytes())


def computed(nodes: list[onnx.NodeProto], *constants: tuple[str, list[float]]) -> bytes:
    """A graph of `x` that gives `logits` and `heavy`."""
    x, y, z = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "logits", "heavy")
    )
    tensors = [helper.make_tensor(name, TensorProto.FLOAT, [2], values) for name, values in constants]
    graph = helper.make_graph(nodes, "graph", [x], [y, z], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def answered(data: bytes, *names: str) -> dict[str, list[float]]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(names)
    found = session.run(list(names), {"x": np.array([[1, 2]], np.float32)})
    return {name: values[0].tolist() for name, values in zip(names, found, strict=True)}


def test_of_the_outputs_that_are_not_wanted_nothing_is_left_to_compute() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["shared"], name="shared"),
        helper.make_node("Exp", ["shared"], ["inner"], name="inner"),
        helper.make_node("Add", ["inner", "one"], ["heavy"], name="heavy"),
        helper.make_node("Neg", ["shared"], ["logits"], name="logits"),
    ]
    whole = computed(nodes, ("two", [2, 2]), ("one", [1, 1]))
    read_graph(whole)
    light = only_outputs(whole, ["logits"])
    assert len(light) == len(whole)
    assert answered(light, "logits") == {"logits": [-2, -4]}
    parsed = onnx.load_model_from_string(light).graph
    assert [node.name for node in parsed.node] == ["shared", "logits"]
    assert [tensor.name for tensor in parsed.initializer] == ["two"]
    assert only_outputs(whole, ["logits", "heavy"]) == whole
    assert only_outputs(light, ["logits"]) == light


def test_what_a_branch_reads_of_the_graph_around_it_stays() -> None:
    """A node of a branch names what lies outside of it, which the node of the branch itself does not list."""

    def side(name: str) -> onnx.GraphProto:
        inner = helper.make_node("Add", [name, name], [f"of {name}"])
        return helper.make_graph(
            [inner], name, [], [helper.make_tensor_value_info(f"of {name}", TensorProto.FLOAT, ["batch", 2])]
        )

    nodes = [
        helper.make_node("Neg", ["x"], ["outer"], name="outer"),
        helper.make_node("Exp", ["x"], ["heavy"], name="heavy"),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("v", TensorProto.BOOL, [], [True])),
        helper.make_node("If", ["yes"], ["logits"], then_branch=side("outer"), else_branch=side("x")),
    ]
    assert answered(only_outputs(computed(nodes), ["logits"]), "logits") == {"logits": [-2, -4]}
