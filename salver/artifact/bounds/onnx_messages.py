"""Every field that an ONNX file may have: its messages as of ONNX 1.23 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).

Left out is what no file of Salver's has: tensors in segments, and models spread over devices.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from salver.artifact.bounds.wire import BYTES, FIXED32, FIXED64, VARINT
from salver.artifact.manifest import MAX_MANIFEST_BYTES

MAX_NAME_BYTES = 1024
ANY_LENGTH = 2**31 - 1

Rule = Literal["", "domain", "inline"]


class Field(NamedTuple):
    """One field of a message, in one wire type."""

    name: str
    once: int
    """A bit of its own for a field that may stand once in a message, else 0."""
    message: str = ""
    """What lies in it; empty for what is no message."""
    most: int = ANY_LENGTH
    rule: Rule = ""


Fields = dict[int, Field]
"""By tag: the field's number and wire type."""


def _one(number: int, name: str, wire: int, message: str = "", *, most: int = ANY_LENGTH, rule: Rule = "") -> Fields:
    return {number << 3 | wire: Field(name, 1 << number, message, most, rule)}


def _many(number: int, name: str, message: str = "", most: int = ANY_LENGTH) -> Fields:
    return {number << 3 | BYTES: Field(name, 0, message, most)}


def _numbers(number: int, name: str, wire: int) -> Fields:
    """One by one or packed, as the writer likes."""
    return {number << 3 | wire: Field(name, 0), number << 3 | BYTES: Field(name, 0)}


def _name(number: int, name: str = "name", rule: Rule = "") -> Fields:
    return _one(number, name, BYTES, most=MAX_NAME_BYTES, rule=rule)


def _names(number: int, name: str) -> Fields:
    return _many(number, name, "", MAX_NAME_BYTES)


def _text(number: int, name: str = "doc_string") -> Fields:
    return _one(number, name, BYTES)


def _int(number: int, name: str) -> Fields:
    return _one(number, name, VARINT)


MESSAGES: Mapping[str, Fields] = {
    "Model": _int(1, "ir_version")
    | _text(2, "producer_name")
    | _text(3, "producer_version")
    | _name(4, "domain")
    | _int(5, "model_version")
    | _text(6)
    | _one(7, "graph", BYTES, "Graph")
    | _many(8, "opset_import", "Opset")
    | _many(14, "metadata_props", "Entry")
    | _many(20, "training_info", "Training")
    | _many(25, "functions", "Function"),
    "Opset": _name(1, "domain") | _int(2, "version"),
    "Entry": _name(1, "key") | _one(2, "value", BYTES, most=MAX_MANIFEST_BYTES),
    "Graph": _many(1, "node", "Node")
    | _name(2)
    | _many(5, "initializer", "Tensor")
    | _text(10)
    | _many(11, "input", "Value")
    | _many(12, "output", "Value")
    | _many(13, "value_info", "Value")
    | _many(14, "quantization_annotation", "Annotation")
    | _many(15, "sparse_initializer", "Sparse")
    | _many(16, "metadata_props", "Entry"),
    "Node": _names(1, "input")
    | _names(2, "output")
    | _name(3)
    | _name(4, "op_type")
    | _many(5, "attribute", "Attribute")
    | _text(6)
    | _name(7, "domain", "domain")
    | _name(8, "overload")
    | _many(9, "metadata_props", "Entry"),
    "Attribute": _name(1)
    | _one(2, "f", FIXED32)
    | _int(3, "i")
    | _text(4, "s")
    | _one(5, "t", BYTES, "Tensor")
    | _one(6, "g", BYTES, "Graph")
    | _numbers(7, "floats", FIXED32)
    | _numbers(8, "ints", VARINT)
    | _many(9, "strings")
    | _many(10, "tensors", "Tensor")
    | _many(11, "graphs", "Graph")
    | _text(13)
    | _one(14, "tp", BYTES, "Type")
    | _many(15, "type_protos", "Type")
    | _int(20, "type")
    | _name(21, "ref_attr_name")
    | _one(22, "sparse_tensor", BYTES, "Sparse")
    | _many(23, "sparse_tensors", "Sparse"),
    "Tensor": _numbers(1, "dims", VARINT)
    | _int(2, "data_type")
    | _numbers(4, "float_data", FIXED32)
    | _numbers(5, "int32_data", VARINT)
    | _many(6, "string_data")
    | _numbers(7, "int64_data", VARINT)
    | _name(8)
    | _text(9, "raw_data")
    | _numbers(10, "double_data", FIXED64)
    | _numbers(11, "uint64_data", VARINT)
    | _text(12)
    | _one(13, "external_data", BYTES, rule="inline")
    | _one(14, "data_location", VARINT, rule="inline")
    | _many(16, "metadata_props", "Entry"),
    "Sparse": _one(1, "values", BYTES, "Tensor") | _one(2, "indices", BYTES, "Tensor") | _numbers(3, "dims", VARINT),
    "Value": _name(1) | _one(2, "type", BYTES, "Type") | _text(3) | _many(4, "metadata_props", "Entry"),
    "Type": _one(1, "tensor_type", BYTES, "TensorType")
    | _one(4, "sequence_type", BYTES, "InnerType")
    | _one(5, "map_type", BYTES, "MapType")
    | _name(6, "denotation")
    | _one(7, "opaque_type", BYTES, "Opaque")
    | _one(8, "sparse_tensor_type", BYTES, "TensorType")
    | _one(9, "optional_type", BYTES, "InnerType"),
    "TensorType": _int(1, "elem_type") | _one(2, "shape", BYTES, "Shape"),
    "InnerType": _one(1, "elem_type", BYTES, "Type"),
    "MapType": _int(1, "key_type") | _one(2, "value_type", BYTES, "Type"),
    "Opaque": _name(1, "domain") | _name(2),
    "Shape": _many(1, "dim", "Dimension"),
    "Dimension": _int(1, "dim_value") | _name(2, "dim_param") | _name(3, "denotation"),
    "Annotation": _name(1, "tensor_name") | _many(2, "quant_parameter_tensor_names", "Entry"),
    "Training": _one(1, "initialization", BYTES, "Graph")
    | _one(2, "algorithm", BYTES, "Graph")
    | _many(3, "initialization_binding", "Entry")
    | _many(4, "update_binding", "Entry"),
    "Function": _name(1)
    | _names(4, "input")
    | _names(5, "output")
    | _names(6, "attribute")
    | _many(7, "node", "Node")
    | _text(8)
    | _many(9, "opset_import", "Opset")
    | _name(10, "domain", "domain")
    | _many(11, "attribute_proto", "Attribute")
    | _many(12, "value_info", "Value")
    | _name(13, "overload")
    | _many(14, "metadata_props", "Entry"),
}
