"""All figures of an evaluation, and where it comes from: what `training.evaluation.schema` has room for."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import precision_recall_fscore_support

from salver.text import printable
from training.dataset.dataset import Dataset
from training.dataset.image import folders
from training.evaluation.curves import label_curves
from training.evaluation.intervals import Weights, bootstrap, mean_of, proportion
from training.evaluation.limits.familiarity import familiarity
from training.evaluation.predictions import Predictions
from training.evaluation.reliability import calibration, coverage
from training.evaluation.schema import Abstention, Curves, DataFacts, Estimate, LabelMetrics, Metrics, ModelFacts, TopK

TOP = (3, 5)

Floats = NDArray[np.float64]


def compute_metrics(evaluation: Predictions) -> Metrics:
    """Every figure with its interval. The images are at least one."""
    matrix, right, images = evaluation.confusion_matrix, evaluation.right, len(evaluation.truths)
    one_hot = OneHot.of(evaluation)
    macro_f1, *f1 = _bootstrapped(evaluation, one_hot)
    curves, micro, macro = label_curves(evaluation)
    labels = _labels(evaluation, one_hot, f1, curves)
    return Metrics(
        images=images,
        accuracy=proportion(int(right.sum()), images, "", evaluation.folds),
        class_averaged_accuracy=mean_of([label.recall for label in labels]),
        macro_f1=macro_f1,
        top_k=_top_k(evaluation),
        absent_labels=evaluation.absent_labels,
        non_finite=evaluation.non_finite,
        abstention=_abstention(evaluation),
        labels=labels,
        confusion_matrix=tuple(map(tuple, matrix.tolist())),
        confusion_matrix_by_truth=_by_truth(evaluation),
        micro=micro,
        macro=macro,
        calibration=calibration(evaluation),
        coverage=coverage(evaluation),
        familiarity=familiarity(evaluation),
    )


def ranks(evaluation: Predictions) -> NDArray[np.int64]:
    """[images]: how many labels come before the truth; of equal logits the first comes first, as in the service."""
    places = np.arange(len(evaluation.truths))
    own = evaluation.logits[places, evaluation.truths][:, None]
    earlier = np.arange(len(evaluation.labels)) < evaluation.truths[:, None]
    before = (evaluation.logits > own) | ((evaluation.logits == own) & earlier)
    return np.where(evaluation.answered, before.sum(axis=1), len(evaluation.labels))


def _top_k(evaluation: Predictions) -> tuple[TopK, ...]:
    places, images = ranks(evaluation), len(evaluation.truths)
    return tuple(
        TopK(k=k, accuracy=proportion(int((places < k).sum()), images, "", evaluation.folds))
        for k in TOP
        if k < len(evaluation.labels)
    )


def _abstention(evaluation: Predictions) -> Abstention:
    images = len(evaluation.truths)
    given = evaluation.answered & ~evaluation.abstained
    return Abstention(
        thresholds=dict(evaluation.thresholds),
        abstained=int(evaluation.abstained.sum()),
        coverage=proportion(int(given.sum()), images, ""),
        accuracy=proportion(int(evaluation.right[given].sum()), int(given.sum()), "no image is answered"),
    )


def _labels(
    evaluation: Predictions, one_hot: "OneHot", f1: list[Estimate], curves: list[Curves]
) -> tuple[LabelMetrics, ...]:
    right, support, predicted = (_count(part) for part in (one_hot.right, one_hot.truth, one_hot.predicted))
    sums, folds = evaluation.score_sums.tolist(), evaluation.folds
    return tuple(
        LabelMetrics(
            label=label,
            support=support[index],
            predicted=predicted[index],
            score_sum=sums[index],
            precision=proportion(right[index], predicted[index], f"no image gets the label '{label}'", folds),
            recall=proportion(right[index], support[index], f"no image of the set has the label '{label}'", folds),
            f1=f1[index],
            curves=curves[index],
        )
        for index, label in enumerate(evaluation.labels)
    )


def _by_truth(evaluation: Predictions) -> tuple[tuple[float, ...] | None, ...]:
    support = np.bincount(evaluation.truths, minlength=len(evaluation.labels))
    rows = zip(evaluation.confusion_matrix, support.tolist(), strict=True)
    return tuple(tuple((row / images).tolist()) if images else None for row, images in rows)


@dataclass(frozen=True)
class OneHot:
    """1 where the image [row] has the label [column] as truth, as prediction, as both; all else is 0."""

    truth: csr_array
    predicted: csr_array
    right: csr_array

    @classmethod
    def of(cls, evaluation: Predictions) -> "OneHot":
        """Images without an answer have no prediction."""
        size = len(evaluation.truths), len(evaluation.labels)
        given = evaluation.answered
        everyone = np.ones(size[0], bool)
        return cls(
            _one_hot(everyone, evaluation.truths, size),
            _one_hot(given, evaluation.predictions, size),
            _one_hot(evaluation.right, evaluation.truths, size),
        )


def _one_hot(chosen: NDArray[np.bool_], labels: NDArray[np.int64], size: tuple[int, int]) -> csr_array:
    rows = np.flatnonzero(chosen)
    return csr_array((np.ones(len(rows)), (rows, labels[rows])), shape=size)


def _count(one_hot: csr_array) -> list[int]:
    counted: list[int] = one_hot.sum(axis=0).astype(int).tolist()
    return counted


def _bootstrapped(evaluation: Predictions, one_hot: OneHot) -> list[Estimate]:
    """The macro F1, and the F1 of each label."""
    figures = precision_recall_fscore_support(
        evaluation.truths, evaluation.predictions, labels=range(len(evaluation.labels)), zero_division=np.nan
    )[2]
    f1 = [_f1(label, figure) for label, figure in zip(evaluation.labels, figures.tolist(), strict=True)]
    macro = Estimate(value=float(np.nanmean(figures)))

    def statistic(weights: Weights) -> Floats:
        scores = _divided(2 * (weights @ one_hot.right), weights @ one_hot.truth + weights @ one_hot.predicted)
        return np.concatenate([_mean(scores), scores], axis=1)

    return bootstrap([macro, *f1], statistic, len(evaluation.truths))


def _f1(label: str, figure: float) -> Estimate:
    if np.isnan(figure):
        return Estimate(value=None, reason=f"no image has or gets the label '{label}'")
    return Estimate(value=figure)


def _divided(counts: Floats, totals: Floats) -> Floats:
    return np.asarray(np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0))


def _mean(figures: Floats) -> Floats:
    """Over the labels for which there is one; there always is."""
    return np.asarray(np.nanmean(figures, axis=1, keepdims=True))


def model_facts(evaluation: Predictions) -> ModelFacts | None:
    """None for a classifier that has not been exported."""
    if evaluation.model is None:
        return None
    manifest = evaluation.model.manifest
    return ModelFacts(
        file=printable(evaluation.model.path),
        sha256=evaluation.model.sha256,
        base=manifest.base,
        weights=manifest.weights,
        head=manifest.head,
        precision=manifest.precision,
        temperature=manifest.temperature,
        thresholds=manifest.thresholds or {},
        pixels=manifest.pixels,
        provenance=manifest.provenance,
    )


def data_facts(evaluation: Predictions) -> DataFacts:
    """The fingerprint is that of `Dataset.fingerprint`; empty where the evaluation does not know its images."""
    images, counts = evaluation.images, Counter(evaluation.truths.tolist())
    return DataFacts(
        folder=", ".join(folders(images)[:3]),
        images=len(evaluation.truths),
        counts={label: counts[index] for index, label in enumerate(evaluation.labels)},
        fingerprint=Dataset(images, evaluation.labels).fingerprint() if images else "",
    )
