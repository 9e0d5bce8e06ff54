"""Tiny ONNX model files with a real manifest, made without torch, for tests."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from salver.artifact.manifest import (
    INPUT_NAME,
    OUTPUT_NAME,
    Familiarity,
    Golden,
    Heat,
    Manifest,
    Parity,
    PixelSpec,
    Provenance,
)
from salver.artifact.pixels import decode, to_pixels
from tests.support.images import photo

SPEC = PixelSpec(height=32, width=32, resize="stretch")
PROBE_LABELS = tuple(f"{half} {colour}" for half in ("left", "right", "top", "bottom") for colour in ("R", "G", "B"))
OPSET, IR_VERSION = 18, 9

Nodes = list[onnx.NodeProto]
Constants = dict[str, NDArray[np.generic] | np.generic]


@dataclass(frozen=True)
class Beside:
    """What a manifest says of the outputs besides the logits."""

    schema_version: Literal[1, 2] = 2
    features: int | None = None
    familiarity: Familiarity | None = None
    heat: Heat | None = None


LOGITS_ALONE = Beside()


def probe(path: Path, spec: PixelSpec = SPEC) -> Path:
    """A model whose logits are the mean red, green and blue of the left, right, top and bottom half, over 255."""
    middle = {"left": (0, spec.width // 2, 2), "right": (spec.width // 2, spec.width, 2)}
    middle |= {"top": (0, spec.height // 2, 1), "bottom": (spec.height // 2, spec.height, 1)}
    nodes: Nodes = []
    constants: Constants = {"over": np.float32(1 / 255), "middle": np.array([1, 2])}
    for half, (start, stop, axis) in middle.items():
        for name, value in (("start", start), ("stop", stop), ("axis", axis)):
            constants[f"{half} {name}"] = np.array([value])
        sliced = ["scaled", f"{half} start", f"{half} stop", f"{half} axis"]
        nodes.append(helper.make_node("Slice", sliced, [f"{half} half"]))
        nodes.append(helper.make_node("ReduceMean", [f"{half} half", "middle"], [half], keepdims=0))
    nodes.append(helper.make_node("Concat", list(middle), [OUTPUT_NAME], axis=1))
    return write(path, nodes, constants, PROBE_LABELS, spec)


def constant(path: Path, logits: Sequence[float], softmax: bool = False, temperature: float = 1.0) -> Path:
    """As `fixed`, with labels a, b, …; its answer is the logits' softmax when it ends in one."""
    return fixed(path, dict(zip("abcdefgh", logits, strict=False)), softmax, temperature)


def fixed(
    path: Path,
    logits: Mapping[str, float],
    softmax: bool = False,
    temperature: float = 1.0,
    thresholds: dict[str, float] | None = None,
    spec: PixelSpec = SPEC,
) -> Path:
    """A model that answers every image with these logits."""
    constants: Constants = {
        "over": np.float32(1 / 255),
        "middle": np.array([1, 2]),
        "nothing": np.zeros((3, len(logits)), np.float32),
        "logits wanted": np.array([[*logits.values()]], np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["scaled", "middle"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "logits wanted"], ["sum" if softmax else OUTPUT_NAME]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["sum"], [OUTPUT_NAME], axis=1))
    return write(path, nodes, constants, tuple(logits), spec, temperature, thresholds)


def by_colour(
    path: Path, gain: float = 8.0, temperature: float = 1.0, thresholds: dict[str, float] | None = None
) -> Path:
    """A model that tells red, green and blue photos: its logits are `gain` times the mean of each colour, over 255."""
    constants: Constants = {"over": np.float32(1 / 255), "middle": np.array([1, 2]), "gain": np.float32(gain)}
    nodes = [
        helper.make_node("ReduceMean", ["scaled", "middle"], ["colour"], keepdims=0),
        helper.make_node("Mul", ["colour", "gain"], [OUTPUT_NAME]),
    ]
    return write(path, nodes, constants, ("red", "green", "blue"), temperature=temperature, thresholds=thresholds)


def nan_for_white(path: Path) -> Path:
    """A model whose three logits are not numbers for an all-white image."""
    constants: Constants = {
        "over": np.float32(1 / 255),
        "middle": np.array([1, 2]),
        "almost white": np.float32(0.999),
    }
    nodes = [
        helper.make_node("ReduceMean", ["scaled", "middle"], ["colour"], keepdims=0),
        helper.make_node("Sub", ["almost white", "colour"], ["distance"]),
        helper.make_node("Sqrt", ["distance"], [OUTPUT_NAME]),
    ]
    return write(path, nodes, constants, ("a", "b", "c"))


def endless_for_white(path: Path) -> Path:
    """A model that for an all-white image goes round in a loop for longer than anybody waits."""
    constants: Constants = {
        "over": np.float32(1 / 255),
        "middle": np.array([1, 2]),
        "times": np.float32(1e12),
        "yes": np.bool_(True),
        "almost white": np.float32(0.999),
    }
    kept = [
        helper.make_tensor_value_info("number", TensorProto.INT64, []),
        helper.make_tensor_value_info("go on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
    ]
    left = [
        helper.make_tensor_value_info("go on after", TensorProto.BOOL, []),
        helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
    ]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go on"], ["go on after"]), helper.make_node("Abs", ["before"], ["after"])],
        "round",
        kept,
        left,
    )
    nodes = [
        helper.make_node("ReduceMean", ["scaled", "middle"], ["colour"], keepdims=0),
        helper.make_node("ReduceMin", ["colour"], ["darkest"], keepdims=0),
        helper.make_node("Greater", ["darkest", "almost white"], ["white"]),
        helper.make_node("Cast", ["white"], ["one"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["one", "times"], ["rounds as float"]),
        helper.make_node("Cast", ["rounds as float"], ["rounds"], to=TensorProto.INT64),
        helper.make_node("Loop", ["rounds", "yes", "colour"], [OUTPUT_NAME], body=body),
    ]
    return write(path, nodes, constants, ("a", "b", "c"))


def write(
    path: Path,
    nodes: Nodes,
    constants: Constants,
    labels: tuple[str, ...],
    spec: PixelSpec = SPEC,
    temperature: float = 1.0,
    thresholds: dict[str, float] | None = None,
    beside: Beside = LOGITS_ALONE,
    base: str = "probe",
) -> Path:
    """A model file of these nodes, which begin at `scaled` (float32 [batch, height, width, 3]) and end at `logits`, and
    at the outputs that are named `beside` them.
    """
    card = photo(48, 40)
    outputs = manifest_for(labels, spec, card, [0.0] * len(labels), beside=beside).outputs
    begin = [
        helper.make_node("Cast", [INPUT_NAME], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "over"], ["scaled"]),
    ]
    graph = helper.make_graph(
        begin + nodes,
        "probe",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", spec.height, spec.width, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run([OUTPUT_NAME], {INPUT_NAME: to_pixels(decode(card, spec), spec)[np.newaxis]})
    manifest = manifest_for(labels, spec, card, logits[0].tolist(), temperature, thresholds, beside, base)
    helper.set_model_props(model, manifest.to_metadata())
    path.write_bytes(model.SerializeToString())
    return path


def manifest_for(
    labels: tuple[str, ...],
    spec: PixelSpec,
    card: bytes,
    logits: list[float],
    temperature: float = 1.0,
    thresholds: dict[str, float] | None = None,
    beside: Beside = LOGITS_ALONE,
    base: str = "probe",
) -> Manifest:
    """A manifest with made-up provenance."""
    answer = dict(zip(labels, logits, strict=True))
    golden = Golden(image=base64.b64encode(card), logits=answer, tolerance=1e-3)
    return Manifest(
        labels=labels,
        pixels=spec,
        temperature=temperature,
        thresholds=thresholds,
        **vars(beside),
        base=base,
        weights="none",
        golden=golden,
        provenance=Provenance(
            data_fingerprint="0" * 64,
            counts=dict.fromkeys(labels, 1),
            seed=0,
            versions={},
            metrics={},
            parity=Parity(images=1, batch_sizes=(1,), max_logit_difference=0.0, tolerance=1e-3),
        ),
    )
