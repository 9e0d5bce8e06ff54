"""ROC and precision-recall curves of each label against the rest, and of their averages, with the areas below them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from training.evaluation.intervals import Weights, bootstrap
from training.evaluation.predictions import Predictions
from training.evaluation.schema import Curves, Estimate, PrecisionRecallCurve, RocCurve

POINTS = 200
"""A stored curve has no more: a set of ten thousand images would give as many for each label."""
RESAMPLED_SCORES = 20_000
"""Up to so many scores (images times labels) the areas get intervals, which then take some 5 s on one core. Larger sets
need them less: an area's error falls with the root of the images."""
TOO_MANY = f"there are more than {RESAMPLED_SCORES:,} scores, so the interval was left out"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Scores of one label, or of all in a row. positive: bool [scores]; image: int [scores], whose score it is."""

    name: str
    positive: NDArray[np.bool_]
    scores: Floats
    image: NDArray[np.int64]

    def curves(self) -> Curves:
        """Null with a reason where the truths of the set leave a curve undefined."""
        if not self.positive.any():
            nothing = Estimate(value=None, reason=f"no image of the set has the label '{self.name}'")
            return Curves(
                roc=RocCurve(area=nothing),
                precision_recall=PrecisionRecallCurve(average_precision=nothing, area=nothing),
            )
        return Curves(roc=self._roc(), precision_recall=self._precision_recall())

    def _roc(self) -> RocCurve:
        if self.positive.all():
            return RocCurve(area=Estimate(value=None, reason=f"every image of the set has the label '{self.name}'"))
        false, true, _ = roc_curve(self.positive, self.scores)
        some = thinned(len(false))
        return RocCurve(
            area=Estimate(value=float(auc(false, true))),
            false_positive_rate=tuple(false[some].tolist()),
            true_positive_rate=tuple(true[some].tolist()),
        )

    def _precision_recall(self) -> PrecisionRecallCurve:
        precision, recall, _ = precision_recall_curve(self.positive, self.scores, drop_intermediate=True)
        precision, recall = precision[::-1], recall[::-1]
        some = thinned(len(recall))
        return PrecisionRecallCurve(
            average_precision=Estimate(value=float(average_precision_score(self.positive, self.scores))),
            area=Estimate(value=float(auc(recall, precision))),
            recall=tuple(recall[some].tolist()),
            precision=tuple(precision[some].tolist()),
        )

    def resampled(self, weights: Weights) -> Floats:
        """The three areas [resamples, 3] when image i counts `weights[:, i]` times; not a number where undefined."""
        order = np.argsort(-self.scores, kind="stable")
        last = np.append(np.diff(self.scores[order]) != 0, True)  # of equal scores, which are accepted together
        weights = weights[:, self.image[order]]
        positives = np.where(self.positive[order], weights, 0).cumsum(axis=1)[:, last]
        accepted = weights.cumsum(axis=1)[:, last]
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = positives / positives[:, -1:]
            false = (accepted - positives) / (accepted - positives)[:, -1:]
            precision = np.where(accepted > 0, positives / accepted, 1.0)
        steps = np.diff(recall, axis=1, prepend=0)
        return np.stack([_area(false, recall, 0), (steps * precision).sum(axis=1), _area(recall, precision, 1)], axis=1)


def label_curves(evaluation: Predictions) -> tuple[list[Curves], Curves, Curves]:
    """For each label in order, then micro- and macro-averaged; areas with intervals while that takes seconds.

    Micro takes every score as an answer of its own; macro is the mean over labels for which there is a curve.
    """
    rankings = [*_rankings(evaluation), _all(evaluation)]
    found = [ranking.curves() for ranking in rankings]
    micro, labels = found[-1], found[:-1]
    curves = [*labels, micro, macro(labels)]
    areas = [area for each in curves for area in _areas(each)]
    if evaluation.probabilities.size <= RESAMPLED_SCORES:
        areas = bootstrap(areas, lambda weights: _resampled(rankings, weights), len(evaluation.truths))
    else:
        areas = [area if area.reason else area.model_copy(update={"reason": TOO_MANY}) for area in areas]
    given = iter(areas)
    curves = [_with_areas(each, next(given), next(given), next(given)) for each in curves]
    return curves[:-2], curves[-2], curves[-1]


def macro(labels: Sequence[Curves]) -> Curves:
    """The mean over labels of areas and of curves, these at equal steps of the other axis.

    A curve of precision and recall has at each recall the best precision at that recall or more.
    """
    rocs = [curves.roc for curves in labels if curves.roc.area.value is not None]
    falls = [curves.precision_recall for curves in labels if curves.precision_recall.area.value is not None]
    steps = np.linspace(0, 1, POINTS // 2 + 1)
    rises = [np.interp(steps, roc.false_positive_rate, roc.true_positive_rate) for roc in rocs]
    drops = [_best_precision(curve, steps) for curve in falls]
    return Curves(
        roc=RocCurve(
            area=_mean([roc.area for roc in rocs]),
            false_positive_rate=(0.0, *steps.tolist()) if rocs else (),
            true_positive_rate=(0.0, *np.mean(rises, axis=0).tolist()) if rocs else (),
        ),
        precision_recall=PrecisionRecallCurve(
            average_precision=_mean([curve.average_precision for curve in falls]),
            area=_mean([curve.area for curve in falls]),
            recall=tuple(steps.tolist()) if falls else (),
            precision=tuple(np.mean(drops, axis=0).tolist()) if falls else (),
        ),
    )


def thinned(count: int) -> NDArray[np.int64]:
    """Indices of at most `POINTS` of so many points, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(np.int64))


def _rankings(evaluation: Predictions) -> Iterator[Ranking]:
    image = np.arange(len(evaluation.truths))
    for index, label in enumerate(evaluation.labels):
        yield Ranking(label, evaluation.truths == index, evaluation.probabilities[:, index], image)


def _all(evaluation: Predictions) -> Ranking:
    images, labels = evaluation.probabilities.shape
    positive = np.arange(labels) == evaluation.truths[:, None]
    return Ranking("any", positive.ravel(), evaluation.probabilities.ravel(), np.arange(images * labels) // labels)


def _areas(curves: Curves) -> tuple[Estimate, Estimate, Estimate]:
    return curves.roc.area, curves.precision_recall.average_precision, curves.precision_recall.area


def _resampled(rankings: Sequence[Ranking], weights: Weights) -> Floats:
    """The areas of each ranking, then the mean over all but the last, which is of all labels in a row."""
    each = np.stack([ranking.resampled(weights) for ranking in rankings], axis=1)
    defined = np.isfinite(each[:, :-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(defined, each[:, :-1], 0).sum(axis=1) / defined.sum(axis=1)
    return np.concatenate([each.reshape(len(weights), -1), mean], axis=1)


def _with_areas(curves: Curves, roc: Estimate, average_precision: Estimate, area: Estimate) -> Curves:
    both = {"average_precision": average_precision, "area": area}
    return Curves(
        roc=curves.roc.model_copy(update={"area": roc}),
        precision_recall=curves.precision_recall.model_copy(update=both),
    )


def _area(x: Floats, y: Floats, first: float) -> Floats:
    """By trapezoids, from x = 0, where y is `first`."""
    x = np.concatenate([np.zeros((len(x), 1)), x], axis=1)
    y = np.concatenate([np.full((len(y), 1), first), y], axis=1)
    return np.asarray(np.trapezoid(y, x, axis=1))


def _best_precision(curve: PrecisionRecallCurve, steps: Floats) -> Floats:
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return best[np.searchsorted(curve.recall, steps)]


def _mean(areas: Sequence[Estimate]) -> Estimate:
    values = [area.value for area in areas if area.value is not None]
    if not values:
        return Estimate(value=None, reason="there is no label for which it is defined")
    return Estimate(value=float(np.mean(values)))
