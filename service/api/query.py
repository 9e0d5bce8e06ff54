"""The query of `POST /score`: the parameters of all images of a body that has no place for them."""

from urllib.parse import parse_qsl

from pydantic import ValidationError
from pydantic_core import from_json

from service.api.request import Parameters
from service.errors import ScoringError

MAX_PARAMETERS = 16
NAMES = tuple(Parameters.model_fields)


def parse_query(query: bytes) -> Parameters:
    """`add_softmax=true&top_k=2&image_resize_dims=224,224`: values as in JSON, without the brackets of a list.

    Raises ScoringError `invalid-request` naming the parameter that is unknown, repeated or wrong.
    """
    values: dict[str, object] = {}
    for name, text in _pairs(query):
        if name not in NAMES:
            raise _refusal(f"Unknown query parameter: {name[:64]}. There are {', '.join(NAMES)}.")
        if name in values:
            raise _refusal(f"The query parameter {name} is repeated: give it once.")
        values[name] = _value(f"[{text}]") if name == "image_resize_dims" else _value(text)
        if name == "heat_map" and not isinstance(values[name], bool | str):  # a label may be named like a number
            values[name] = text
    try:
        return Parameters.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise _refusal(f"Query parameter {first['loc'][0]}: {first['msg'][:200]}.") from None


def check_no_query(query: bytes) -> None:
    """Raises ScoringError `invalid-request` when there is one, beside a JSON body."""
    for name, _ in _pairs(query):
        raise _refusal(f"Query parameter {name[:64]}: with a JSON body, put it among the item's parameters.")


def _pairs(query: bytes) -> list[tuple[str, str]]:
    if not query:
        return []
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise _refusal(f"The limit is {MAX_PARAMETERS} query parameters.") from None


def _value(text: str) -> object:
    """What the JSON text says; other text as it is, for the validation to refuse. A list as a tuple."""
    try:
        value: object = from_json(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value


def _refusal(detail: str) -> ScoringError:
    return ScoringError("invalid-request", detail)
