import numpy as np
import pytest
from scipy.special import softmax

from training.fit.heads.temperature import LEAST_PHOTOS, WIDEST, fit_temperature, temperature_of

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_the_temperature_that_made_the_answers_is_found(temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 4)).astype(np.float32) * 3 * temperature
    truths = np.array([generator.choice(4, p=row) for row in softmax(logits / temperature, axis=1)])
    assert fit_temperature(logits, truths) == pytest.approx(temperature, rel=0.1)


def test_a_few_images_that_are_all_right_do_not_ask_for_certainty() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]] * 8
    truths = np.array([0, 1, 2, 0, 1])
    best = softmax(logits / fit_temperature(logits, truths), axis=1).max(axis=1)
    assert best == pytest.approx(6 / 7, abs=0.01)


def test_answers_that_say_nothing_give_no_temperature() -> None:
    assert fit_temperature(np.zeros((3, 2), np.float32), np.array([0, 1, 1])) == 1
    assert fit_temperature(np.full((3, 2), np.nan, np.float32), np.array([0, 1, 1])) == 1


def test_an_image_whose_logits_are_not_finite_is_left_out() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    truths = logits.argmax(1)
    broken = np.vstack([logits, [[np.nan, 0, 0]]]).astype(np.float32)
    assert fit_temperature(broken, np.append(truths, 1)) == pytest.approx(fit_temperature(logits, truths))


def test_the_temperature_is_positive_and_bounded_whatever_the_labels() -> None:
    """24 photos, all right out of fold, then with shuffled labels (N3-25): no score prints as 1.0000."""
    logits = (np.eye(3)[np.arange(24) % 3] + np.random.default_rng(1).normal(0, 0.1, (24, 3))).astype(np.float32)
    truths = np.arange(24) % 3
    for labels in (truths, np.random.default_rng(2).permutation(truths)):
        found = temperature_of(logits, labels)
        assert logits.std() / WIDEST <= found.value <= logits.std() * WIDEST
        assert not found.reason
        scores = softmax(logits / found.value, axis=1)
        assert (scores.argmax(1) == logits.argmax(1)).all()
        assert f"{scores.max():.4f}" != "1.0000"


def test_below_a_stated_count_it_stays_1_and_says_why() -> None:
    logits = np.eye(3, dtype=np.float32)[np.arange(LEAST_PHOTOS) % 3]
    truths = np.arange(LEAST_PHOTOS) % 3
    assert temperature_of(logits, truths).value != 1
    logits[0] = np.nan  # never judged
    found = temperature_of(logits, truths)
    assert found.value == 1
    assert "19 photos could be judged, and it takes 20" in found.reason
