import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.evaluation.evaluations import from_pairs
from training.errors import SettingError
from training.evaluation.comparison import compare, difference
from training.evaluation.evaluate import Evaluation
from training.evaluation.intervals import wilson

pytestmark = pytest.mark.torch


def test_what_changed_is_counted_and_tested() -> None:
    truths = [0] * 10 + [1] * 10
    old = from_pairs(truths, [0] * 7 + [1] * 3 + [1] * 10, 2)
    new = from_pairs(truths, [0] * 10 + [1] * 9 + [0], 2)
    found = compare(new, old)
    assert (found.only_new_right, found.only_old_right, found.changed) == (3, 1, 4)
    assert found.difference.value == pytest.approx(0.1)
    assert found.p_value == pytest.approx(0.625)  # 2 * (1 + 4) / 2 ** 4
    assert [(row.old, row.new) for row in found.labels] == [(0.7, 1.0), (1.0, 0.9)]
    assert found.class_averaged_difference.value == pytest.approx(0.1)
    assert found.class_averaged_difference.low is not None
    assert found.class_averaged_difference.low < 0.1 < (found.class_averaged_difference.high or 0)
    same = compare(new, new)
    assert (same.class_averaged_difference.low or 0) < 0 < (same.class_averaged_difference.high or 0)
    assert (same.p_value, same.changed, same.difference.value) == (1, 0, 0)


def test_models_with_other_labels_are_compared_by_name() -> None:
    new = from_pairs([0, 1], [0, 1], 2)
    old = Evaluation(("further", "label 1", "label 0"), np.eye(3, dtype=np.float32)[[2, 0]], np.array([2, 1]))
    found = compare(new, old)
    assert (found.changed, found.only_new_right, found.only_old_right) == (1, 1, 0)
    assert [(row.old, row.new) for row in found.labels] == [(1, 1), (0, 1)]


def test_a_label_that_the_set_lacks_has_no_recall_to_compare() -> None:
    one = from_pairs([0, 0], [0, 1], 2)
    assert compare(one, one).labels[1].old is None


def test_evaluations_of_other_images_are_refused() -> None:
    with pytest.raises(SettingError, match="different images"):
        compare(from_pairs([0, 1], [0, 1], 2), from_pairs([0], [0], 2))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_interval_of_the_difference_holds_it_and_turns_round_with_the_models(
    pairs: list[tuple[bool, bool]],
) -> None:
    new, old = np.array([one for one, _ in pairs]), np.array([other for _, other in pairs])
    there, back = difference(new, old), difference(old, new)
    assert there.low is not None
    assert there.high is not None
    assert back.high is not None
    assert -1 <= there.low <= new.mean() - old.mean() <= there.high <= 1
    assert there.low == pytest.approx(-back.high)


def test_against_a_model_that_is_always_right_the_interval_is_newcombes_without_correlation() -> None:
    new, old = np.array([True] * 8 + [False] * 2), np.array([True] * 10)
    (low, high), (old_low, _) = wilson(8, 10), wilson(10, 10)
    found = difference(new, old)
    assert found.low == pytest.approx(-0.2 - np.hypot(0.8 - low, 0))
    assert found.high == pytest.approx(-0.2 + np.hypot(high - 0.8, 1 - old_low))
