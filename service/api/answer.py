"""Logits and errors to the JSON that `POST /score` answers."""

from collections.abc import Sequence
from typing import NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json
from typing_extensions import TypedDict

from salver.artifact.manifest import Manifest
from salver.artifact.pixels import seen_box
from salver.artifact.scores import abstains, probabilities
from service.api.request import Parameters
from service.errors import IndexedProblem, Problem, ScoringError
from service.scoring.model import Model
from service.scoring.outcome import Outputs, foreign
from service.scoring.scorer import Result

Scores = NDArray[np.floating]
FOREIGN = "The image is unlike the training photos."
UNSURE = "The best probability is under its label's threshold."


class LabelScore(TypedDict):
    label: str
    score: float


class Size(TypedDict):
    width: int
    height: int


class HeatMap(TypedDict):
    """What each cell adds to a label's logit, or takes from it: the cells' mean, plus the bias, is the logit.

    `values` are rows from top to bottom. They lie on `box`, [left, top, right, bottom] in pixels of the upright image,
    whose size is `image`: with the resize "crop" inside it, with "pad" also around it.
    """

    label: str
    label_index: int
    values: list[list[float]]
    bias: float
    logit: float
    box: tuple[float, float, float, float]
    image: Size


class Scored(TypedDict):
    """The answer for one image; `label` is null when the model abstained: the best probability is under its threshold,
    or the image is foreign and such images are to be rejected.
    """

    label: str | None
    label_index: int
    score: float
    scores: NotRequired[list[float]]
    top: NotRequired[list[LabelScore]]
    abstained: NotRequired[bool]
    reason: NotRequired[str]
    familiarity: NotRequired[float]
    foreign: NotRequired[bool]
    features: NotRequired[list[float]]
    heat_map: NotRequired[HeatMap]


class Failed(TypedDict):
    """The answer for one image that could not be scored."""

    error: Problem


def answer_item(model: Model, result: Result, parameters: Parameters) -> Scored | Failed:
    """One image's part of the answer."""
    outcome = result.outcome
    if isinstance(outcome, ScoringError):
        return {"error": outcome.problem()}
    logits = outcome.logits
    scores: Scores = probabilities(logits, model.manifest.temperature) if parameters.add_softmax else logits
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
        if parameters.reject_foreign:
            answer["reason"] = UNSURE
    is_foreign = foreign(model.manifest, outcome)
    if is_foreign and parameters.reject_foreign:
        answer |= {"label": None, "abstained": True, "reason": FOREIGN}
    if is_foreign is not None and outcome.familiarity is not None:
        answer |= {"familiarity": outcome.familiarity, "foreign": is_foreign}
    if outcome.features is not None and parameters.features:
        answer["features"] = outcome.features.tolist()
    if parameters.heat_map is not False:
        answer["heat_map"] = _heat_map(model.manifest, result, outcome, parameters.heat_map)
    return answer


def _heat_map(manifest: Manifest, result: Result, outputs: Outputs, label: str | bool) -> HeatMap:
    """Of that label, or of the best one; `check_outputs` has found that the model gives it."""
    assert outputs.heat is not None
    assert manifest.heat is not None
    index = manifest.labels.index(label) if isinstance(label, str) else int(outputs.logits.argmax())
    spec = manifest.pixels
    name, size = manifest.labels[index], (spec.width, spec.height)
    box = (0.0, 0.0, float(spec.width), float(spec.height))
    if result.header is not None:
        size = result.header.upright_size
        box = seen_box(size, spec)
    return {
        "label": name,
        "label_index": index,
        "values": outputs.heat[index].tolist(),
        "bias": manifest.heat.bias[name],
        "logit": float(outputs.logits[index]),
        "box": box,
        "image": {"width": size[0], "height": size[1]},
    }


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
