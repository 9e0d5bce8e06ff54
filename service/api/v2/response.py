"""The answer of the Open Inference Protocol: tensors in JSON, or their bytes after it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from salver.artifact.scores import abstains, probabilities
from service.api.answer import Scores
from service.api.v2.request import LENGTH, InferRequest, OutputName
from service.scoring.model import Model
from service.scoring.outcome import Outputs, foreign


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class BinarySize(_Frozen):
    binary_data_size: int


class OutputTensor(_Frozen):
    """`data` is flat, and absent when the tensor's bytes follow the JSON."""

    name: OutputName
    datatype: Literal["FP32", "BYTES"]
    shape: tuple[int, ...]
    parameters: BinarySize | None = None
    data: list[float] | list[str] | None = None


class InferResponse(_Frozen):
    """The JSON of an answer."""

    model_name: str
    model_version: str
    """sha256 of the model file."""
    id: str | None = None
    outputs: list[OutputTensor]


class Body(NamedTuple):
    """An answer's bytes; with `json_length`, tensors follow the JSON."""

    content: bytes
    json_length: int | None


def respond(request: InferRequest, model_name: str, model: Model, images: Sequence[Outputs], *, reject: bool) -> Body:
    """The answer for each image's outputs. With `reject`, a foreign image has no label."""
    answered = [_output(model, images, name, binary=binary, reject=reject) for name, binary in request.wanted()]
    response = InferResponse(
        model_name=model_name,
        model_version=model.version,
        id=request.id,
        outputs=[tensor for tensor, _ in answered],
    )
    text = response.model_dump_json(exclude_none=True).encode()
    binary = any(tensor.parameters for tensor, _ in answered)
    return Body(b"".join([text, *(raw for _, raw in answered)]), len(text) if binary else None)


def _output(
    model: Model, images: Sequence[Outputs], name: OutputName, *, binary: bool, reject: bool
) -> tuple[OutputTensor, bytes]:
    if name == "label":
        return _texts(name, [_label(model, image, reject=reject) for image in images], binary=binary)
    if name == "probabilities":
        values = [_probabilities(model, image) for image in images]
    else:
        values = [getattr(image, name) for image in images]
    return _floats(name, np.array(values, np.float32), binary=binary)


def _probabilities(model: Model, image: Outputs) -> Scores:
    return probabilities(image.logits, model.manifest.temperature)


def _label(model: Model, image: Outputs, *, reject: bool) -> str:
    """The best label; the empty text when the model abstains, because of its threshold or of a foreign image."""
    scores, manifest = _probabilities(model, image), model.manifest
    best = int(scores.argmax())
    label = manifest.labels[best]
    unsure = abstains(manifest.thresholds, label, float(scores[best]))
    return "" if unsure or (reject and foreign(manifest, image)) else label


def _floats(name: OutputName, values: NDArray[np.float32], *, binary: bool) -> tuple[OutputTensor, bytes]:
    if not binary:
        return OutputTensor(name=name, datatype="FP32", shape=values.shape, data=values.ravel().tolist()), b""
    raw = values.astype("<f4").tobytes()
    return OutputTensor(name=name, datatype="FP32", shape=values.shape, parameters=_size(raw)), raw


def _texts(name: OutputName, values: list[str], *, binary: bool) -> tuple[OutputTensor, bytes]:
    shape = (len(values),)
    if not binary:
        return OutputTensor(name=name, datatype="BYTES", shape=shape, data=values), b""
    raw = b"".join(LENGTH.pack(len(value)) + value for value in map(str.encode, values))
    return OutputTensor(name=name, datatype="BYTES", shape=shape, parameters=_size(raw)), raw


def _size(raw: bytes) -> BinarySize:
    return BinarySize(binary_data_size=len(raw))
