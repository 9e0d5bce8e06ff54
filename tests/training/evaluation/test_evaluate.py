from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.evaluation.evaluations import from_pairs
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import DatasetError
from training.evaluation.evaluate import Evaluation, by_label, evaluate
from training.evaluation.metrics import compute_metrics
from training.evaluation.predictions import NO_ANSWER
from training.progress import Progress
from training.run.classifier import Classifier

pytestmark = pytest.mark.torch


def from_matrix(matrix: Sequence[Sequence[int]]) -> Evaluation:
    cells = [(truth, predicted, count) for truth, row in enumerate(matrix) for predicted, count in enumerate(row)]
    truths = [truth for truth, _, count in cells for _ in range(count)]
    predictions = [predicted for _, predicted, count in cells for _ in range(count)]
    return from_pairs(truths, predictions, len(matrix))


def test_the_2018_example_is_9091_overall_and_7500_class_averaged() -> None:
    matrix = [[0, 1, 0, 1], [0, 7, 0, 0], [0, 0, 2, 0], [0, 0, 0, 11]]
    evaluation = from_matrix(matrix)
    assert round(evaluation.accuracy, 4) == 0.9091
    assert evaluation.class_averaged_accuracy == 0.75
    assert evaluation.confusion_matrix.tolist() == matrix
    assert evaluation.absent_labels == ()


def test_a_label_that_no_image_has_is_left_out_of_the_average_and_named() -> None:
    evaluation = from_pairs(truths=[1, 1], predictions=[1, 2], classes=3)
    assert evaluation.class_averaged_accuracy == 0.5
    assert evaluation.absent_labels == ("label 0", "label 2")
    assert evaluation.confusion_matrix.tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_logits_that_are_not_finite_are_wrong_and_never_the_first_label() -> None:
    evaluation = from_pairs(truths=[0, 0, 1, 1], predictions=[0, 0, 1, 1], classes=2)
    evaluation.logits[1] = np.nan
    evaluation.logits[2, 0] = np.inf
    assert evaluation.predictions.tolist() == [0, NO_ANSWER, NO_ANSWER, 1]
    assert evaluation.non_finite == 2
    assert evaluation.accuracy == evaluation.class_averaged_accuracy == 0.5
    assert evaluation.confusion_matrix.tolist() == [[1, 0], [0, 1]]


def test_logits_in_another_label_order_are_matched_by_name() -> None:
    evaluation = from_pairs(truths=[0, 1, 2], predictions=[0, 1, 2], classes=3)
    order = ("label 2", "label 0", "label 1")
    assert by_label(evaluation, evaluation.logits[:, [2, 0, 1]], order).accuracy == 1
    assert by_label(evaluation, evaluation.logits, order).accuracy == 0


@pytest.mark.slow
def test_a_set_without_one_of_the_labels_shifts_nothing(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "all", {"1": 2, "2": 2, "10": 2})
    part = photo_folder(tmp_path / "part", {"1": 2, "10": 2})
    classifier = Classifier("resnet18", dataset.labels, image_size=64, weights="none", device="cpu")
    assert classifier.labels == ("1", "2", "10")
    evaluation = evaluate(classifier, part)
    assert [evaluation.labels[truth] for truth in evaluation.truths] == [image.label for image in part.images]
    assert evaluation.absent_labels == ("2",)
    assert evaluation.logits.shape == (4, 3)


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 1, "bowl": 1})
    classifier = Classifier("resnet18", dataset.labels, image_size=64, weights="none", device="cpu")
    with pytest.raises(DatasetError, match="no images"):
        evaluate(classifier, type(dataset)((), dataset.labels))


class Coin:
    """Says heads to everything, and knows neither files nor nets."""

    labels = ("heads", "tails")

    def score(self, dataset: Dataset, progress: Progress) -> NDArray[np.float32]:
        progress.begin("tossing", len(dataset))
        return np.tile(np.array([1, 0], np.float32), (len(dataset), 1))


def test_anything_with_labels_and_scores_is_evaluated(tmp_path: Path) -> None:
    evaluation = evaluate(Coin(), photo_folder(tmp_path, {"heads": 3, "tails": 1}))
    assert (evaluation.accuracy, evaluation.model, len(evaluation.images)) == (0.75, None, 4)
    with pytest.raises(DatasetError, match="has the label 'edge'"):
        evaluate(Coin(), photo_folder(tmp_path / "more", {"heads": 1, "edge": 1}))


def test_figures_and_pictures_come_from_the_evaluation_itself() -> None:
    evaluation = from_pairs(truths=[0, 0, 1, 1, 2, 2], predictions=[0, 0, 1, 2, 2, 2], classes=3)
    assert evaluation.metrics() == compute_metrics(evaluation)
    assert evaluation.metrics() is evaluation.metrics()
    assert list(evaluation.plots()) == ["roc", "precision-recall", "confusion-matrix", "reliability", "coverage"]
    assert evaluation.plots()["roc"].png().startswith(b"\x89PNG")
