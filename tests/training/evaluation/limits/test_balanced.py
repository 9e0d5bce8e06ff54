"""Scores of labels that class weights balanced (N3-26)."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.evaluation.evaluations import from_probabilities
from training.evaluation.evaluate import Evaluation
from training.evaluation.limits.balanced import balanced_scores
from training.evaluation.schema import ByFolds

pytestmark = pytest.mark.torch


def by_weights(scores: list[float], rare: int, *, weighted: bool = True) -> Evaluation:
    """Of as many images: these are the second label's scores, and the last `rare` of them have it."""
    chances = np.array(scores)
    truths = [0] * (len(scores) - rare) + [1] * rare
    found = from_probabilities(np.stack([1 - chances, chances], axis=1).tolist(), truths)
    facts = ByFolds(
        base="resnet18", weights="none", head="svm", seed=0, asked=5, folds=(), always_learnt=(), weighted=weighted
    )
    return replace(found, by_folds=facts)


def test_a_rare_label_whose_scores_add_up_to_more_than_its_photos_is_named() -> None:
    (line,) = balanced_scores(by_weights([0.2] * 95 + [0.3] * 5, 5))
    assert line == (
        "scores are those of labels balanced by class weights, not of how often each comes here; images and sum of "
        "scores: 'label 1' has 5 and 20.5"
    )


@pytest.mark.parametrize("found", [by_weights([0.2] * 95 + [0.3] * 5, 5, weighted=False), by_weights([0.05] * 100, 5)])
def test_without_weights_and_within_two_photos_there_is_no_line(found: Evaluation) -> None:
    assert balanced_scores(found) == []


def test_a_fifth_more_than_many_photos_is_no_line_and_more_is() -> None:
    assert balanced_scores(by_weights([0.59] * 100, 50)) == []
    assert "'label 0' has 50 and 39.0, 'label 1' has 50 and 61.0" in balanced_scores(by_weights([0.61] * 100, 50))[0]
