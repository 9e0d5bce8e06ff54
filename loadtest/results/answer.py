"""Whether an answer is right: a 200 that holds an error is a failure, an expected refusal is none."""

import math
import re
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from loadtest.traffic.payload import Payload, Refusal
from salver.text import counted

TOLERANCE = 0.01
"""How far scores of the same image may be apart, relative to the largest: batches round differently."""
KIND = re.compile(r"urn:salver:[a-z-]{1,40}")
NOT_AN_ANSWER = "the body is not an answer of the scoring API"


class Problem(BaseModel):
    """An error of an item or of a whole request."""

    type: str
    status: int | None = None


class Item(BaseModel):
    """What one image got."""

    label_index: int | None = None
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    scores: list[Annotated[float, Field(allow_inf_nan=False)]] | None = None
    error: Problem | None = None


_ITEMS = TypeAdapter(list[Item])


class Answers:
    """Checks answers, and that an image gets the same scores every time, alone or at any place of a list."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, bool], list[float]] = {}

    def fault(self, payload: Payload, status: int, body: bytes) -> str | None:
        """What is wrong with the answer, in one of a few fixed sentences; None when it is right."""
        if payload.refusal is not None:
            return _fault_of_refusal(payload.refusal, status, body)
        if status != 200:
            return f"status {status} {_problem_type(body)}".strip()
        try:
            items = _ITEMS.validate_json(body)
        except ValidationError:
            return NOT_AN_ANSWER
        if len(items) != len(payload.photos):
            return f"{counted(len(payload.photos), 'image')} sent, {len(items)} answered"
        pairs = zip(items, payload.photos, strict=True)
        faults = (self._fault_of_item(item, photo, softmax=payload.softmax) for item, photo in pairs)
        return next((fault for fault in faults if fault), None)

    def _fault_of_item(self, item: Item, photo: int, *, softmax: bool) -> str | None:
        if item.error is not None:
            return f"item error {_known(item.error.type)} in a 200"
        if not item.scores:
            return NOT_AN_ANSWER
        if softmax and not math.isclose(sum(item.scores), 1, abs_tol=1e-3):
            return "the softmax does not sum to 1"
        first = self._first.setdefault((photo, softmax), item.scores)
        if len(first) != len(item.scores):
            return "other labels than in the first answer"
        allowed = TOLERANCE * max(1.0, *map(abs, first))
        if any(abs(ours - theirs) > allowed for ours, theirs in zip(item.scores, first, strict=True)):
            return "other scores than in the first answer for the same image"
        return None


def _fault_of_refusal(refusal: Refusal, status: int, body: bytes) -> str | None:
    got = _problem_type(body)
    if (status, got) == (refusal.status, refusal.type):
        return None
    return f"expected {refusal.status} {refusal.type}, got {status} {got}".strip()


def _known(kind: str) -> str:
    """The kind of error; a stranger's words reach neither the terminal nor the tables of the run."""
    return kind if KIND.fullmatch(kind) else "of a kind that is not Salver's"


def _problem_type(body: bytes) -> str:
    try:
        return _known(Problem.model_validate_json(body).type)
    except ValidationError:
        return ""
