"""Logits and truths of the images of a labelled set, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from salver.artifact.scores import abstains, is_foreign, probabilities
from training.dataset.image import LabelledImage
from training.evaluation.model_file import ModelFile
from training.evaluation.schema import ByFolds

NO_ANSWER = -1
"""The prediction for an image whose logits are not all finite: wrong whatever the truth."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """logits: float32 [images, classes]; truths: int64 [images], indices into `labels`.

    `images` are those that were scored, in the same order; `model` is the file that gave the logits, or was made from
    the classifier that did. Without it there are neither temperature nor thresholds.
    """

    labels: tuple[str, ...]
    logits: NDArray[np.float32] = field(repr=False)
    truths: NDArray[np.int64] = field(repr=False)
    images: tuple[LabelledImage, ...] = field(default=(), repr=False)
    model: ModelFile | None = field(default=None, repr=False)
    familiarity: NDArray[np.float32] | None = field(default=None, repr=False)
    """[images], where the model gives it."""
    folds: int = 1
    """Nets or last layers that answered, each for images that it did not learn and the others did."""
    by_folds: ByFolds | None = None
    """What they were, where they were trained to be tested: each logit is divided by its net's temperature."""

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """The index of each image's largest logit, the first of equal ones; NO_ANSWER where one is not finite."""
        finite = np.isfinite(self.logits).all(axis=1)
        return np.where(finite, self.logits.argmax(axis=1), NO_ANSWER)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """[images]"""
        return np.not_equal(self.predictions, NO_ANSWER)

    @property
    def right(self) -> NDArray[np.bool_]:
        """[images]"""
        return np.equal(self.predictions, self.truths)

    @property
    def non_finite(self) -> int:
        """Images without an answer because a logit is infinite or not a number."""
        return int((~self.answered).sum())

    @property
    def absent_labels(self) -> tuple[str, ...]:
        """Labels that no image of the set has; the class-averaged accuracy leaves them out."""
        present = set(self.truths.tolist())
        return tuple(label for index, label in enumerate(self.labels) if index not in present)

    @property
    def accuracy(self) -> float:
        """Overall: the share of images whose prediction is the truth."""
        return float(accuracy_score(self.truths, self.predictions))

    @property
    def class_averaged_accuracy(self) -> float:
        """The mean over the labels in the set of the share of their images that is right (macro recall)."""
        present = np.unique(self.truths)
        return float(recall_score(self.truths, self.predictions, labels=present, average="macro", zero_division=0))

    @property
    def confusion_matrix(self) -> NDArray[np.int64]:
        """Counts [truth, predicted], in the order of `labels`; images without an answer are in no column."""
        counts: NDArray[np.int64] = confusion_matrix(self.truths, self.predictions, labels=range(len(self.labels)))
        return counts

    @property
    def temperature(self) -> float | None:
        """What logits are divided by before the softmax; None before the export, which fits it. 1 for nets by folds,
        which have been divided.
        """
        if self.by_folds is not None:
            return 1.0
        return self.model.manifest.temperature if self.model else None

    @property
    def thresholds(self) -> Mapping[str, float]:
        """By label the probability below which it is not given."""
        return (self.model.manifest.thresholds if self.model else None) or {}

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """[images, classes], as the service answers with `add_softmax`; zeros for an image without an answer."""
        answered = np.where(self.answered[:, None], self.logits, 0)
        return np.where(self.answered[:, None], probabilities(answered, self.temperature or 1.0), 0.0)

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """[images], the probability of the prediction; 0 for an image without an answer."""
        return np.where(self.answered, self.probabilities.max(axis=1), 0.0)

    @property
    def score_sums(self) -> NDArray[np.float64]:
        """[classes], of the probabilities: how many images are to have the label, were they those of chances."""
        return np.asarray(self.probabilities.sum(axis=0))

    @property
    def weighted(self) -> bool:
        """Whether photos of some labels counted for more than others when it was trained, as far as is known."""
        if self.by_folds is not None:
            return self.by_folds.weighted
        return self.model is not None and self.model.manifest.provenance.class_weights is not None

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """[images], the negative logarithm of the truth's probability; infinite for an image without an answer."""
        logits = np.where(self.answered[:, None], self.logits, 0).astype(np.float64) / (self.temperature or 1.0)
        losses = -log_softmax(logits, axis=1)[np.arange(len(self.truths)), self.truths]
        return np.where(self.answered, losses, np.inf)

    @property
    def foreign(self) -> NDArray[np.bool_] | None:
        """[images]: whether the service calls the image unlike the training photos; None where it cannot tell."""
        known = self.model.manifest.familiarity if self.model else None
        if self.familiarity is None or known is None:
            return None
        return np.array([is_foreign(each, known.threshold) for each in self.familiarity.tolist()], bool)

    @cached_property
    def abstained(self) -> NDArray[np.bool_]:
        """[images]: whether the service would give no label because the best score is below its label's threshold."""
        best = zip(self.predictions, self.scores, strict=True)
        below = [abstains(self.thresholds, self.labels[label], score) for label, score in best]
        return np.logical_and(self.answered, below)
