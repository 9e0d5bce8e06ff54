"""What a request asks for, parsed once at the edge into frozen values.

The base64 text of an image is kept as it came; a scoring thread opens it (`service.scoring.encoded`), off the event
loop.
"""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from salver.text import counted, validation_message
from service.api.json_body import LONG_BYTES, JsonBody
from service.errors import ScoringError
from service.scoring.encoded import Encoded, LongText

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
JSON_WHITE_SPACE = b" \t\r\n"
COMMAS_PER_ITEM = 64
MAX_NESTING = 200  # pydantic's parser has it built in
LONG_ELSEWHERE = f"A text of more than {LONG_BYTES} characters stands where no image's base64 belongs: shorten it."
IN_BASE64 = "An image itself, as a data: URI has it, is sent as image_in_base64."


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
    image_url: Annotated[str, Field(max_length=LONG_BYTES)] | None = None
    parameters: Parameters = Parameters()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.image_in_base64 is None) == (self.image_url is None):
            raise ValueError("give exactly one of image_in_base64 and image_url")
        return self

    def item(self, body: JsonBody) -> Item:
        """The same without the two names, and with the text that was cut out of the body."""
        if self.image_in_base64 is None:
            return Item(Url(self.image_url or ""), self.parameters)
        text = body.text(self.image_in_base64)
        return Item(text if isinstance(text, LongText) or text.isascii() else LongText(None), self.parameters)


class BodyParser:
    """Reads JSON bodies of at most `max_items` images."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        bounded = Annotated[list[ScoreItem], Field(min_length=1, max_length=max_items, fail_fast=True)]
        self._list: TypeAdapter[list[ScoreItem]] = TypeAdapter(bounded)
        self._item: TypeAdapter[ScoreItem] = TypeAdapter(ScoreItem)

    def parse(self, body: JsonBody) -> list[Item]:
        """The items in order; a bare object is a list of one.

        Raises ScoringError: `malformed-json`, or `invalid-request` naming the item and the field, never its content.
        """
        text = body.rest().removeprefix(BYTE_ORDER_MARK)
        # Commas bound how many values the body holds: small ones cost a hundred times their text in memory.
        if _holds_more_commas(text, COMMAS_PER_ITEM * (self._max_items + 1)):
            raise ScoringError("invalid-request", self._too_many())
        try:
            if text.lstrip(JSON_WHITE_SPACE).startswith(b"{"):
                items = [self._item.validate_json(text).item(body)]
            else:
                items = [item.item(body) for item in self._list.validate_json(text)]
        except ValidationError as error:
            raise self._refusal(error) from None
        if body.cuts and sum(isinstance(item.image, LongText) for item in items) < body.cuts:
            raise ScoringError("invalid-request", f"{LONG_ELSEWHERE} {IN_BASE64}")
        return items

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
            case "string_too_long":
                detail = f"{where}: it has more than {LONG_BYTES} characters. {IN_BASE64}"
                return ScoringError("invalid-request", detail)
            case "too_short":
                return ScoringError("invalid-request", "The list is empty: send at least one image.")
            case "too_long" if not where:
                return ScoringError("invalid-request", self._too_many())
        message = validation_message(first["msg"])[:200]
        return ScoringError("invalid-request", f"{where}: {message}." if where else f"{message}.")

    def _too_many(self) -> str:
        return f"The limit is {counted(self._max_items, 'image')} in a request: send the list in parts."


def _holds_more_commas(body: bytes, limit: int) -> bool:
    """Base64 has none, so that `find` runs over it thirty times as fast as `count` would."""
    at = -1
    for _ in range(limit + 1):
        at = body.find(b",", at + 1)
        if at < 0:
            return False
    return True
