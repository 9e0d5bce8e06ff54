"""Logits and errors to the JSON that `POST /score` answers."""

from collections.abc import Sequence
from typing import NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json
from typing_extensions import TypedDict

from salver.artifact.manifest import Manifest
from salver.artifact.scores import abstains, probabilities
from service.api.request import Parameters
from service.errors import IndexedProblem, Problem, ScoringError
from service.scoring.model import Model
from service.scoring.scorer import Outcome

Scores = NDArray[np.floating]


class LabelScore(TypedDict):
    label: str
    score: float


class Scored(TypedDict):
    """The answer for one image; `label` is null when a threshold made the model abstain."""

    label: str | None
    label_index: int
    score: float
    scores: NotRequired[list[float]]
    top: NotRequired[list[LabelScore]]
    abstained: NotRequired[bool]


class Failed(TypedDict):
    """The answer for one image that could not be scored."""

    error: Problem


def answer_item(model: Model, outcome: Outcome, parameters: Parameters) -> Scored | Failed:
    """One image's part of the answer."""
    if isinstance(outcome, ScoringError):
        return {"error": outcome.problem()}
    scores: Scores = probabilities(outcome, model.manifest.temperature) if parameters.add_softmax else outcome
    best = int(scores.argmax())
    answer: Scored = {
        "label": model.manifest.labels[best],
        "label_index": best,
        "score": float(scores[best]),
    }
    if parameters.top_k is None:
        answer["scores"] = scores.tolist()
    else:
        answer["top"] = _top(scores, model.manifest, parameters.top_k)
    if parameters.add_softmax and abstains(model.manifest.thresholds, model.manifest.labels[best], answer["score"]):
        answer |= {"label": None, "abstained": True}
    return answer


def _top(scores: Scores, manifest: Manifest, count: int) -> list[LabelScore]:
    order = np.argsort(-scores, kind="stable")[:count]
    return [{"label": manifest.labels[i], "score": float(scores[i])} for i in order]


def answer_all(items: Sequence[Scored | Failed]) -> bytes:
    """The JSON list of a request in which at least one image was scored."""
    return to_json(items)


def problem_json(error: ScoringError, failures: Sequence[ScoringError] = ()) -> bytes:
    """A whole answer of type application/problem+json (RFC 9457), listing each item's error when items failed."""
    problem: Problem = {**error.problem(), "status": error.status}
    if failures:
        problem["errors"] = [_indexed(index, failure) for index, failure in enumerate(failures)]
    return to_json(problem)


def _indexed(index: int, failure: ScoringError) -> IndexedProblem:
    problem = failure.problem()
    return {"index": index, "type": problem["type"], "title": problem["title"], "detail": problem["detail"]}
