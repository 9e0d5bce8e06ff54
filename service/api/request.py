"""What a request asks for, parsed once at the edge into frozen values.

The base64 text of an image is kept as it came; a scoring thread opens it (`service.scoring.encoded`), off the event
loop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from salver.artifact.manifest import Manifest, OutputName, missing_output
from salver.text import counted, printable, validation_message
from service.api.json_body import LONG_BYTES, JsonBody
from service.errors import ScoringError
from service.scoring.encoded import Encoded, LongText
from service.scoring.outcome import LOGITS, Wanted
from service.settings import Settings

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
JSON_WHITE_SPACE = b" \t\r\n"
COMMAS_PER_ITEM = 64
MAX_NESTING = 200  # pydantic's parser has it built in
LONG_ELSEWHERE = f"A text of more than {LONG_BYTES} characters stands where no image's base64 belongs: shorten it."
IN_BASE64 = "An image itself, as a data: URI has it, is sent as image_in_base64."


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _heat_map(value: object) -> object:
    if not isinstance(value, bool | str):
        raise ValueError("give true for the best label's, or the name of a label")
    return value


class Parameters(_Strict):
    """How one image is to be answered."""

    add_softmax: bool = False
    """True: probabilities, softmax(logits / temperature). False: the raw logits."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    """Answer `top` with the best K labels in place of `scores`; more than there are labels means all of them."""
    image_resize_dims: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    """[height, width] of the 2018 package's client, which shrank images before sending: accepted, without effect."""
    familiarity: bool = False
    """Answer `familiarity`, from -1 to 1, and whether the image is `foreign`: less familiar than the threshold."""
    reject_foreign: bool = False
    """Answer a foreign image without a label and, for every image without one, the reason."""
    features: bool = False
    """Answer what the last layer reads of the image."""
    heat_map: Annotated[bool | str, BeforeValidator(_heat_map)] = False
    """Answer how much each place of the image adds to the best label's logit, or to that of the label named."""

    @property
    def wanted(self) -> Wanted:
        """The outputs of the model that the answer is made of."""
        asked = frozenset(name for _, name in self.asked())
        return asked | LOGITS if asked else LOGITS

    def asked(self) -> Iterator[tuple[str, OutputName]]:
        """The parameters that ask for more than logits, each with the output that it needs."""
        if self.familiarity:
            yield "familiarity", "familiarity"
        if self.reject_foreign:
            yield "reject_foreign", "familiarity"
        if self.features:
            yield "features", "features"
        if self.heat_map is not False:
            yield "heat_map", "heat"


@dataclass(frozen=True, slots=True)
class Url:
    """Where an image is to be fetched from."""

    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """An image that is to be scored, in whatever form the request was, and how it is to be answered."""

    image: Encoded | Url
    parameters: Parameters


def ruled(items: Sequence[Item], settings: Settings) -> Sequence[Item]:
    """The items as they are to be answered by a service that is set to say more than it is asked for."""
    if not (settings.familiarity or settings.reject_foreign):
        return items
    return [replace(item, parameters=_ruled(item.parameters, settings)) for item in items]


def _ruled(own: Parameters, settings: Settings) -> Parameters:
    familiarity, reject = own.familiarity or settings.familiarity, own.reject_foreign or settings.reject_foreign
    return own.model_copy(update={"familiarity": familiarity, "reject_foreign": reject})


def check_outputs(items: Sequence[Item], manifest: Manifest) -> None:
    """Raises ScoringError `invalid-request` naming the first item that asks for what the model does not give."""
    for index, parameters in enumerate(item.parameters for item in items):
        for field, output in parameters.asked():
            if output not in manifest.outputs:
                raise ScoringError(
                    "invalid-request",
                    f"item {index}, parameters, {field}: the model file does not give {output}: "
                    f"{missing_output(manifest, output)}",
                )
        label = parameters.heat_map
        if isinstance(label, str) and label not in manifest.labels:
            raise ScoringError(
                "invalid-request",
                f"item {index}, parameters, heat_map: the model has no label '{printable(label)[:64]}': GET /model "
                "lists them.",
            )


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
