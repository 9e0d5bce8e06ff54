"""Whether probabilities can be believed: the reliability diagram (Guo et al., "On calibration of modern neural
networks", 2017), and the accuracy of the images that are answered.
"""

import numpy as np
from numpy.typing import NDArray

from salver.artifact.scores import probabilities
from training.evaluation.curves import thinned
from training.evaluation.intervals import Weights, bootstrap
from training.evaluation.predictions import Predictions
from training.evaluation.schema import Calibration, Coverage, Estimate, ReliabilityBin

BINS = 15
"""Of equal width, as in Guo et al."""

Floats = NDArray[np.float64]


def calibration(evaluation: Predictions) -> Calibration:
    """Before the temperature and after it. Images without an answer have no probability, so they are left out."""
    temperature = evaluation.temperature
    before = _confidences(evaluation, 1.0)
    after = before if temperature is None else _confidences(evaluation, temperature)
    right = evaluation.right[evaluation.answered]
    error_before, error_after = _errors(before, after, right)
    if temperature is None:
        error_after = Estimate(value=None, reason="the temperature is fitted when the classifier is exported")
    return Calibration(
        temperature=temperature,
        error_before=error_before,
        error_after=error_after,
        bins_before=_bins(before, right),
        bins_after=() if temperature is None else _bins(after, right),
    )


def coverage(evaluation: Predictions) -> Coverage:
    """One point for each best probability as the threshold, from all images that have an answer to the surest."""
    order = np.argsort(-evaluation.scores, kind="stable")
    order = order[evaluation.answered[order]]
    if not len(order):
        return Coverage(threshold=(), coverage=(), accuracy=())
    scores = evaluation.scores[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))[::-1]
    some = last[thinned(len(last))]
    accuracy = np.cumsum(evaluation.right[order])[some] / (some + 1)
    return Coverage(
        threshold=tuple(scores[some].tolist()),
        coverage=tuple(((some + 1) / len(evaluation.truths)).tolist()),
        accuracy=tuple(accuracy.tolist()),
    )


def expected_calibration_error(confidences: Floats, right: NDArray[np.bool_]) -> float:
    """The mean distance of confidence and accuracy over the bins, weighted by their images. At least one image."""
    return float(_gaps(confidences, right, np.ones((1, len(right))))[0])


def _errors(before: Floats, after: Floats, right: NDArray[np.bool_]) -> list[Estimate]:
    if not len(right):
        return [Estimate(value=None, reason="no image has an answer")] * 2
    figures = [Estimate(value=expected_calibration_error(each, right)) for each in (before, after)]

    def statistic(weights: Weights) -> Floats:
        return np.stack([_gaps(each, right, weights) for each in (before, after)], axis=1)

    return bootstrap(figures, statistic, len(right))


def _gaps(confidences: Floats, right: NDArray[np.bool_], weights: Weights) -> Floats:
    distances = weights * (confidences - right)
    bins = _bin_of(confidences)
    gaps = [np.abs(distances[:, bins == index].sum(axis=1)) for index in np.unique(bins)]
    return np.asarray(np.sum(gaps, axis=0) / weights.sum(axis=1))


def _bins(confidences: Floats, right: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    found, bins = [], _bin_of(confidences)
    for index in range(BINS):
        inside = bins == index
        found.append(
            ReliabilityBin(
                low=index / BINS,
                high=(index + 1) / BINS,
                images=int(inside.sum()),
                confidence=float(confidences[inside].mean()) if inside.any() else None,
                accuracy=float(right[inside].mean()) if inside.any() else None,
            )
        )
    return tuple(found)


def _bin_of(confidences: Floats) -> NDArray[np.int64]:
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidences)


def _confidences(evaluation: Predictions, temperature: float) -> Floats:
    answered: Floats = probabilities(evaluation.logits[evaluation.answered], temperature).max(axis=1, initial=0.0)
    return answered
