"""The request of the Open Inference Protocol, parsed once at the edge into frozen values.

A body is JSON, and after it the tensor's bytes when the binary-tensor-data extension is used. Images stay encoded until
a scoring thread opens them.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salver.artifact.manifest import Manifest, PixelSpec, missing_output
from salver.artifact.manifest import OutputName as ModelOutput
from salver.text import counted
from service.api.json_body import JsonBody, too_many_values
from service.api.request import BYTE_ORDER_MARK, LONG_ELSEWHERE
from service.errors import ScoringError
from service.scoring.encoded import Encoded, LongText
from service.scoring.outcome import LOGITS, Wanted

LENGTH_HEADER = "Inference-Header-Content-Length"
"""The HTTP header that says how long the JSON is, when bytes follow it."""
LENGTH = Struct("<I")
"""What stands before each element of a BYTES tensor."""
MAX_JSON_VALUES = 2**19
"""Each number costs the event loop up to 0.2 µs, so that larger tensors have to come as bytes."""
WHOLE_BYTES = 32 * 1024
"""Up to this a body is parsed as it is: 16,000 numbers in about 2 ms."""
MAX_ID_CHARACTERS = 256
COPY_BYTES = 2**20

OutputName = Literal["logits", "probabilities", "label", "features", "familiarity", "heat"]
UNNAMED: tuple[OutputName, ...] = ("logits", "probabilities", "label")
"""What is answered when no output is named."""
BESIDE: tuple[ModelOutput, ...] = ("features", "familiarity", "heat")
"""What not every model file has, in the order of the metadata."""
MAX_OUTPUTS = len(UNNAMED) + len(BESIDE)

_fail_fast = Field(fail_fast=True)  # otherwise each wrong element makes an error object of its own
_Texts = Annotated[list[str], _fail_fast]
_TextColumn = Annotated[list[Annotated[list[str], Field(min_length=1, max_length=1)]], _fail_fast]
_Numbers = Annotated[list[int], _fail_fast]
_Picture = Annotated[list[Annotated[list[_Numbers], _fail_fast]], _fail_fast]
_Pictures = Annotated[list[_Picture], _fail_fast]
_DATA_ERRORS = {
    "BYTES": "image: data is not a list of image files in base64.",
    "UINT8": "pixels: data is not a list of whole numbers, flat or nested like the shape.",
}

Count = Annotated[int, Field(ge=0, lt=2**31)]
Shape = Annotated[list[Count], Field(min_length=1, max_length=4)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _WithOthers(BaseModel):
    """Parameters that are meant for other servers are read over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class InputParameters(_WithOthers):
    binary_data_size: Count | None = None
    """Bytes of this tensor after the JSON; then it has no `data`."""


class _Tensor(_Strict):
    shape: Shape
    parameters: InputParameters | None = None


class ImageTensor(_Tensor):
    """Image files [n] or [n, 1]: in base64 in JSON, as they are after it."""

    name: Literal["image"]
    datatype: Literal["BYTES"]
    data: _Texts | _TextColumn | None = None

    def images(self, body: JsonBody, raw: bytes, _: PixelSpec) -> Sequence[Encoded]:
        """Base64 texts or file bytes, one an image."""
        if self.shape[1:] not in ([], [1]):
            raise _invalid("image: the shape is neither [n] nor [n, 1].")
        if self.data is None:
            return _elements(raw, self.shape[0])
        if len(self.data) != self.shape[0]:
            raise _invalid(f"image: the shape says {counted(self.shape[0], 'image')} and data holds {len(self.data)}.")
        return [_text(body, text if isinstance(text, str) else text[0]) for text in self.data]


class PixelsTensor(_Tensor):
    """Pixels [n, height, width, 3], of the model's own size and prepared as its manifest says."""

    name: Literal["pixels"]
    datatype: Literal["UINT8"]
    data: _Numbers | _Pictures | None = None

    def images(self, body: JsonBody, raw: bytes, spec: PixelSpec) -> Sequence[Encoded]:
        """One uint8 array [height, width, 3] an image."""
        if self.shape[1:] != [spec.height, spec.width, 3]:
            raise _invalid(f"pixels: the shape that this model takes is [n, {spec.height}, {spec.width}, 3].")
        size = self.shape[0] * spec.height * spec.width * 3
        numbers = body.numbers(self.data)
        if numbers is not None:
            values = numbers.end()
            fits = values.size == size and numbers.brackets in (_brackets([size]), _brackets(self.shape))
        else:
            values = np.frombuffer(raw, np.uint8) if self.data is None else self._numbers(self.data)
            fits = values.shape in ((size,), tuple(self.shape))
        if not fits:
            raise _invalid(f"pixels: the data is not the {size} values of the shape, flat or nested like it.")
        return list(values.reshape(self.shape))

    @staticmethod
    def _numbers(data: Sequence[object]) -> NDArray[np.uint8]:
        try:
            return np.array(data, np.uint8)
        except OverflowError:
            raise _invalid("pixels: a value is not from 0 to 255.") from None
        except ValueError:
            raise _invalid("pixels: the lists in data are not all of one length.") from None


InputTensor = Annotated[ImageTensor | PixelsTensor, Field(discriminator="datatype")]


class OutputParameters(_Strict):
    binary_data: bool | None = None
    """Whether the tensor is answered as bytes after the JSON; unset, the request's `binary_data_output` counts."""


class RequestedOutput(_Strict):
    name: OutputName
    parameters: OutputParameters | None = None


class RequestParameters(_WithOthers):
    binary_data_output: bool = False


class InferRequest(_Strict):
    """One tensor in; the outputs that are named, or logits, probabilities and label."""

    id: Annotated[str, Field(max_length=MAX_ID_CHARACTERS)] | None = None
    model_name: Annotated[str, Field(max_length=MAX_ID_CHARACTERS)] | None = None
    """KServe's client sends it; the name in the address counts."""
    parameters: RequestParameters | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[RequestedOutput], Field(max_length=MAX_OUTPUTS)] | None = None

    def images(self, body: JsonBody, raw: bytes, spec: PixelSpec, max_items: int) -> Sequence[Encoded]:
        """The images, not yet decoded; `raw` is what follows the JSON. Raises ScoringError `invalid-request`.

        Copies each image's bytes, so that many of them are not for the event loop.
        """
        (tensor,) = self.inputs
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if not 1 <= tensor.shape[0] <= max_items:
            asked = counted(tensor.shape[0], "image")
            raise _invalid(f"{tensor.name}: the shape asks for {asked}; a request holds 1 to {max_items}.")
        if (tensor.data is None) == (size is None):
            raise _invalid(f"{tensor.name}: give either data or the parameter binary_data_size.")
        if len(raw) != (size or 0):
            raise _invalid(
                f"{tensor.name}: binary_data_size is {size or 0}, and after the JSON come {counted(len(raw), 'byte')}: "
                f"set the header {LENGTH_HEADER} to the length of the JSON."
            )
        images = tensor.images(body, raw, spec)
        used = sum(isinstance(image, LongText) and image.blocks is not None for image in images)
        if body.cuts and not used and body.numbers(tensor.data) is None:
            raise _invalid(LONG_ELSEWHERE)
        return images

    def wanted(self) -> list[tuple[OutputName, bool]]:
        """The outputs in the order of the answer, each with whether it is answered as bytes."""
        default = self.parameters.binary_data_output if self.parameters else False
        outputs = self.outputs or [RequestedOutput(name=name) for name in UNNAMED]
        own = [(output.name, output.parameters.binary_data if output.parameters else None) for output in outputs]
        return [(name, default if binary is None else binary) for name, binary in own]

    def of_model(self, manifest: Manifest) -> Wanted:
        """The outputs of the model that the answer is made of.

        Raises ScoringError `invalid-request` naming the first output that the model file does not have.
        """
        named = [output.name for output in self.outputs or []]
        for index, name in enumerate(named):
            if name in BESIDE and name not in manifest.outputs:
                raise _invalid(
                    f"outputs, item {index}: the model file has no '{name}': {missing_output(manifest, name)}"
                )
        return LOGITS.union(name for name in BESIDE if name in named)


class InferBody:
    """Takes a body piece by piece: the JSON, and the bytes after it."""

    def __init__(self, max_items: int, json_length: bytes | None) -> None:
        """`json_length` is the header Inference-Header-Content-Length as it came."""
        self.json = JsonBody(max_items, WHOLE_BYTES, MAX_JSON_VALUES)
        self.raw: list[bytes] = []
        self._json_length = json_length
        if json_length is None:
            self._to_come: int | None = None
        else:
            self._to_come = int(json_length) if json_length.isdigit() and len(json_length) < 20 else 0
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take the next piece. Raises ScoringError as `JsonBody` does."""
        self._size += len(data)
        if self._to_come is None:
            self.json.write(data)
            return
        text, raw = data[: self._to_come], data[self._to_come :]
        self._to_come -= len(text)
        if text:
            self.json.write(text)
        if raw:
            self.raw.append(raw)

    def parse(self) -> InferRequest:
        """The JSON, when all has come.

        Raises ScoringError: `malformed-json`, or `invalid-request` naming the place, never its content.
        """
        header = self._json_length
        if header is not None and (self._to_come or not header.isdigit() or len(header) >= 20):
            raise _invalid(f"The header {LENGTH_HEADER} is not the length of the JSON in a body of {self._size} bytes.")
        text = self.json.rest().removeprefix(BYTE_ORDER_MARK)
        if text.count(b",") >= MAX_JSON_VALUES:
            raise too_many_values(MAX_JSON_VALUES)
        try:
            return InferRequest.model_validate_json(text)
        except ValidationError as error:
            raise _refusal(error) from None


def _refusal(error: ValidationError) -> ScoringError:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return ScoringError("malformed-json", f"{first['msg'][:200]}.")
    if "data" in first["loc"]:
        return _invalid(_DATA_ERRORS[str(first["loc"][2])])
    place = [part for part in first["loc"] if part not in _DATA_ERRORS]
    where = ", ".join(f"item {part}" if isinstance(part, int) else part[:64] for part in place)
    match first["type"]:
        case "extra_forbidden":
            return _invalid(f"Unknown field: {where}. Remove it or correct its name.")
        case "union_tag_invalid" | "union_tag_not_found":
            return _invalid(f"{where}: send 'image' with the datatype BYTES, or 'pixels' with the datatype UINT8.")
    return _invalid(f"{where}: {first['msg'][:200]}." if where else "The body is not the object of a request.")


def _elements(raw: bytes, count: int) -> list[bytes]:
    """The elements of a BYTES tensor: each is its length in 4 bytes, little-endian, and that many bytes."""
    places: list[tuple[int, int]] = []
    at = 0
    while len(places) < count and at + LENGTH.size <= len(raw):
        start = at + LENGTH.size
        at = start + LENGTH.unpack_from(raw, at)[0]
        places.append((start, at))
    if len(places) != count or at != len(raw):
        raise _invalid(f"image: the bytes are not {count} times an image's length, in 4 bytes, and the image.")
    return [_copy(raw, start, end) for start, end in places]


def _copy(raw: bytes, start: int, end: int) -> bytes:
    """In parts, which are joined without holding the interpreter."""
    return b"".join([raw[at : min(at + COPY_BYTES, end)] for at in range(start, end, COPY_BYTES)])


def _text(body: JsonBody, text: str) -> str | LongText:
    """Of an image, as it came or as it was cut out; of one that is not ASCII nothing."""
    found = body.text(text)
    return found if isinstance(found, LongText) or found.isascii() else LongText(None)


def _brackets(shape: Sequence[int]) -> bytes:
    """The brackets and commas of a nested list of that shape."""
    inner = b""
    for size in reversed(shape):
        inner = b"[" + b",".join([inner] * size) + b"]"
    return inner


def _invalid(detail: str) -> ScoringError:
    return ScoringError("invalid-request", detail)
