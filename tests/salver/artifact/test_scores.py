"""Probabilities and abstention, the one rule of both rooms."""

import numpy as np
import pytest

from salver.artifact.scores import abstains, probabilities


def test_probabilities_are_the_softmax_of_logits_over_the_temperature() -> None:
    expected = np.exp([1.0, 0.5, 0.0])
    np.testing.assert_allclose(
        probabilities(np.array([2, 1, 0], np.float32), 2.0), expected / expected.sum(), rtol=1e-15
    )


def test_the_largest_logits_and_the_smallest_temperature_give_numbers() -> None:
    assert probabilities(np.array([3e38, 1, -3e38], np.float32), 1e-30).tolist() == [1, 0, 0]


def test_an_image_has_the_same_last_digit_alone_and_among_others() -> None:
    logits = np.random.default_rng(7).normal(0, 9, (1000, 12)).astype(np.float32)
    alone = np.stack([probabilities(row, 1.7) for row in logits])
    assert np.array_equal(probabilities(logits, 1.7), alone)


@pytest.mark.parametrize(("probability", "abstained"), [(0.499, True), (0.5, False), (0.501, False)])
def test_the_threshold_itself_is_enough(probability: float, abstained: bool) -> None:
    assert abstains({"cup": 0.5}, "cup", probability) is abstained


def test_a_label_without_a_threshold_is_always_given() -> None:
    assert not abstains({"cup": 0.5}, "bowl", 0.0)
    assert not abstains(None, "cup", 0.0)
