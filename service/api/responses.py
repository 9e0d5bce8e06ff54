"""Documented answers that routes share: errors by their kinds, headers by what each says."""

from collections.abc import Mapping
from typing import Any

from service.errors import KINDS, Kind

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
REFERENCE = "#/components/schemas/{model}"

Schema = dict[str, Any]  # a JSON document

TEXT: Schema = {"type": "string"}
REQUEST_ID = {"X-Request-Id": "The request's trace id, the caller's own when they sent a `traceparent`."}
SCORE_HEADERS = {
    "X-Model-Version": "sha256 of the model file that answered.",
    "Server-Timing": "Longest fetch, queueing, decoding and inference among the images, and the whole, in ms.",
}
PROBLEM_HEADERS = {
    401: {"WWW-Authenticate": "`Bearer`: how to send a key."},
    429: {"Retry-After": "Seconds to wait before the next try."},
}


def problems(*kinds: Kind) -> dict[int | str, Schema]:
    """The error answers of a route: one entry a status, naming the kinds that have it."""
    lines: dict[int, list[str]] = {}
    for kind in kinds:
        lines.setdefault(KINDS[kind].status, []).append(f"`urn:salver:{kind}`: {KINDS[kind].title}.")
    return {status: problem_answer(status, " ".join(text)) for status, text in lines.items()}


def problem_answer(status: int, description: str) -> Schema:
    """One error answer of a route."""
    return {
        "description": description,
        "headers": headers(PROBLEM_HEADERS.get(status, {})),
        "content": {PROBLEM_JSON: {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }


def headers(texts: Mapping[str, str]) -> Schema:
    """The headers of an answer, by what each says."""
    return {name: {"description": text, "schema": TEXT} for name, text in texts.items()}
