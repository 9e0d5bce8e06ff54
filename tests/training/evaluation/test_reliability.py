import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from tests.training.evaluation.evaluations import from_logits, from_pairs, random_evaluation
from training.evaluation.metrics import compute_metrics
from training.evaluation.reliability import BINS, coverage, expected_calibration_error

pytestmark = pytest.mark.torch


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 0.999), st.booleans()), min_size=1, max_size=60))
def test_the_calibration_error_is_the_gap_of_scikit_learns_bins_weighted_by_their_images(
    answers: list[tuple[float, bool]],
) -> None:
    confidences, right = np.array([one for one, _ in answers]), np.array([other for _, other in answers])
    accuracy, confidence = calibration_curve(right, confidences, n_bins=BINS)
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidences))
    wanted = (np.abs(accuracy - confidence) * counts[counts > 0]).sum() / len(answers)
    assert expected_calibration_error(confidences, right) == pytest.approx(wanted)


def test_every_answered_image_is_in_one_bin_which_has_its_mean() -> None:
    found = compute_metrics(random_evaluation(300, 4)).calibration
    assert sum(each.images for each in found.bins_before) == 300
    gaps = [each.images * abs(each.accuracy - each.confidence) for each in found.bins_before if each.images]  # type: ignore[operator]
    assert found.error_before.value == pytest.approx(sum(gaps) / 300)
    assert found.bins_after == ()
    assert "fitted when the classifier is exported" in (found.error_after.reason or "")


def test_coverage_rises_to_all_images_and_its_accuracy_to_that_of_the_set() -> None:
    evaluation = from_logits([[9, 0], [5, 0], [5, 0], [1, 0]], [0, 0, 1, 1])
    found = coverage(evaluation)
    assert found.coverage == (1, 0.75, 0.25)
    np.testing.assert_allclose(found.accuracy, (0.5, 2 / 3, 1))
    assert found.threshold == tuple(sorted({*evaluation.scores.tolist()}))


def test_of_an_overconfident_model_the_error_is_how_much() -> None:
    certain = from_pairs([0] * 6 + [1] * 4, [0] * 10, 2)
    certain.logits[:] *= 100
    assert compute_metrics(certain).calibration.error_before.value == pytest.approx(0.4)
