"""How well a classifier does on a labelled set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from training.dataset import Dataset

if TYPE_CHECKING:
    from training.classifier import Classifier

NO_ANSWER = -1
"""The prediction for an image whose logits are not all finite: wrong whatever the truth."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """logits: float32 [images, classes]; truths: int64 [images], indices into `labels`."""

    labels: tuple[str, ...]
    logits: NDArray[np.float32]
    truths: NDArray[np.int64]

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """The index of each image's largest logit, the first of equal ones; NO_ANSWER where one is not finite."""
        finite = np.isfinite(self.logits).all(axis=1)
        return np.where(finite, self.logits.argmax(axis=1), NO_ANSWER)

    @property
    def non_finite(self) -> int:
        """Images without an answer because a logit is infinite or not a number."""
        return int((self.predictions == NO_ANSWER).sum())

    @property
    def absent_labels(self) -> tuple[str, ...]:
        """Labels that no image of the set has; the class-averaged accuracy leaves them out."""
        return tuple(label for index, label in enumerate(self.labels) if index not in self.truths)

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


def evaluate(classifier: "Classifier", dataset: Dataset) -> Evaluation:
    """Score every image of `dataset` with the trained net, through `artifact.pixels`.

    Raises DatasetError for an empty set, an unreadable image, or a label that the classifier does not have.
    """
    return classifier.evaluate(dataset)


def by_label(evaluation: Evaluation, logits: NDArray[np.float32], order: Sequence[str]) -> Evaluation:
    """The same images with other logits, whose columns stand in `order`, a permutation of the labels."""
    columns = [order.index(label) for label in evaluation.labels]
    return Evaluation(evaluation.labels, logits[:, columns], evaluation.truths)
