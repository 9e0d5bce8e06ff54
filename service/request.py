"""What a request asks for, parsed once at the edge into frozen values.

The base64 text of an image is kept as it came; `image_bytes` opens it on a scoring thread, off the event loop.
"""

import binascii
from dataclasses import dataclass
from typing import Annotated, Self

import pybase64
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from artifact.errors import ImageTooLarge
from service.errors import ScoringError
from service.queue import Encoded

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
JSON_WHITE_SPACE = b" \t\r\n"
COMMAS_PER_ITEM = 64
MAX_NESTING = 200  # pydantic's parser has it built in
_URL_SAFE = str.maketrans("-_", "+/")
_WHITE_SPACE = " \t\r\n\f\v"
_NO_WHITE_SPACE = str.maketrans("", "", _WHITE_SPACE)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Parameters(_Strict):
    """How one image is to be answered."""

    add_softmax: bool = False
    """True: probabilities, softmax(logits / temperature). False: the raw logits."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    """Answer `top` with the best K labels in place of `scores`; more than there are labels means all of them."""
    image_resize_dims: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    """[height, width] of the 2018 package's client, which shrank images before sending: accepted, without effect."""


@dataclass(frozen=True, slots=True)
class Url:
    """Where an image is to be fetched from."""

    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """An image that is to be scored, in whatever form the request was, and how it is to be answered."""

    image: Encoded | Url
    parameters: Parameters


class ScoreItem(_Strict):
    """One image in a JSON body: exactly one of `image_in_base64` and `image_url`."""

    image_in_base64: str | None = None
    image_url: str | None = None
    parameters: Parameters = Parameters()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.image_in_base64 is None) == (self.image_url is None):
            raise ValueError("give exactly one of image_in_base64 and image_url")
        return self

    def item(self) -> Item:
        """The same without the two names."""
        text = self.image_in_base64
        return Item(Url(self.image_url or "") if text is None else text, self.parameters)


class BodyParser:
    """Reads JSON bodies of at most `max_items` images."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        bounded = Annotated[list[ScoreItem], Field(min_length=1, max_length=max_items, fail_fast=True)]
        self._list: TypeAdapter[list[ScoreItem]] = TypeAdapter(bounded)
        self._item: TypeAdapter[ScoreItem] = TypeAdapter(ScoreItem)

    def parse(self, body: bytes) -> list[Item]:
        """The items in order; a bare object is a list of one.

        Raises ScoringError: `malformed-json`, or `invalid-request` naming the item and the field, never its content.
        """
        # Commas bound how many values the body holds: small ones cost a hundred times their text in memory.
        if _holds_more_commas(body, COMMAS_PER_ITEM * (self._max_items + 1)):
            raise ScoringError("invalid-request", self._too_many())
        body = body.removeprefix(BYTE_ORDER_MARK)
        try:
            if body.lstrip(JSON_WHITE_SPACE).startswith(b"{"):
                return [self._item.validate_json(body).item()]
            return [item.item() for item in self._list.validate_json(body)]
        except ValidationError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: ValidationError) -> ScoringError:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ", ".join(f"item {part}" if isinstance(part, int) else part[:64] for part in first["loc"])
        match first["type"]:
            case "json_invalid" if "recursion limit" in first["msg"]:
                return ScoringError("malformed-json", f"The body is nested deeper than the limit of {MAX_NESTING}.")
            case "json_invalid":
                return ScoringError("malformed-json", f"{first['msg'][:200]}.")
            case "extra_forbidden":
                return ScoringError("invalid-request", f"Unknown field: {where}. Remove it or correct its name.")
            case "list_type" if not where:
                return ScoringError("invalid-request", "The body is neither a list of images nor one image's object.")
            case "too_short":
                return ScoringError("invalid-request", "The list is empty: send at least one image.")
            case "too_long" if not where:
                return ScoringError("invalid-request", self._too_many())
        message = first["msg"].removeprefix("Value error, ")[:200]
        return ScoringError("invalid-request", f"{where}: {message}." if where else f"{message}.")

    def _too_many(self) -> str:
        return f"The limit is {self._max_items} images in a request: send the list in parts."


def _holds_more_commas(body: bytes, limit: int) -> bool:
    """Base64 has none, so that `find` runs over it thirty times as fast as `count` would."""
    at = -1
    for _ in range(limit + 1):
        at = body.find(b",", at + 1)
        if at < 0:
            return False
    return True


def image_bytes(text: str, max_bytes: int) -> bytes:
    """Open base64 in the forms that clients send, then strictly.

    Read are a `data:` prefix, white space, surrounding quotes, Python's `b'…'`, the URL-safe alphabet and missing
    padding. Raises ScoringError `undecodable-image`, or ImageTooLarge before it opens what is over `max_bytes`.
    """
    if text and _size(text) <= max_bytes:
        try:  # as most clients send it: what is strictly base64 needs no look for other forms
            return pybase64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
    text = _bare(text)
    if not text:
        raise ScoringError("undecodable-image", "The base64 text is empty: send the image's bytes.")
    if (size := _size(text)) > max_bytes:
        raise ImageTooLarge(f"The image has {size:,} bytes; the limit is {max_bytes:,} bytes.")
    try:
        return pybase64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ScoringError(
            "undecodable-image", "The text is not base64: send the image's bytes in the standard base64 alphabet."
        ) from None


def _size(text: str) -> int:
    """Bytes in a base64 text without padding."""
    return len(text) * 3 // 4


def _bare(text: str) -> str:
    """Standard base64 without what clients put around and into it, and without padding."""
    text = _unquoted(text.translate(_NO_WHITE_SPACE))
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    return text.translate(_URL_SAFE).rstrip("=")


def _unquoted(text: str) -> str:
    if text[:2] in ("b'", 'b"'):
        text = text[1:]
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return text
