import numpy as np
import pytest
from scipy.stats import fisher_exact

from salver.artifact.facts.bins import bins_of
from tests.training.support.chance import false_alarms, population
from training.evaluation.limits.drift import (
    FALSE_ALARMS,
    LEAST_CHANGE,
    FactDrift,
    compare,
    least_visible,
    questions,
    tails,
)

LABELS = ("cup", "plate")
BRIGHTNESS = bins_of("brightness", LABELS)


def only(reference: dict[str, int], window: dict[str, int], fact: str = "brightness") -> FactDrift:
    (found,) = compare({fact: reference}, {fact: window}, LABELS)
    return found


@pytest.mark.parametrize(("reference", "window"), [(20, 50), (59, 200), (5000, 50), (500, 50_000)])
def test_tails_are_those_of_fishers_test(reference: int, window: int) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, reference + 1, 20), rng.integers(0, window + 1, 20)
    found = tails(reference, window, ours, theirs)
    for ours_yes, theirs_yes, p_value in zip(ours.tolist(), theirs.tolist(), found, strict=True):
        table = [[ours_yes, reference - ours_yes], [theirs_yes, window - theirs_yes]]
        exact = min(1.0, 2 * min(fisher_exact(table, side).pvalue for side in ("less", "greater")))
        assert p_value == pytest.approx(exact, rel=1e-6, abs=1e-250)


@pytest.mark.parametrize("window", [50, 200, 5_000, 50_000])
@pytest.mark.parametrize("reference", [20, 59, 5_000])
def test_windows_in_which_nothing_changed_do_not_alarm_at_any_size(reference: int, window: int) -> None:
    """As for a tool that took drift for certain in large windows and never saw it in small ones (case N3-41)."""
    people = population(200, 6, clumped=True, seed=1)
    assert false_alarms(people, reference, window, 1_000, seed=window) == 0


def test_a_population_that_changed_alarms_in_the_same_windows() -> None:
    """Or the test above would pass for a test that never alarms."""
    reference = {"064": 20, "080": 20, "096": 19}
    darker = {"032": 60, "048": 70, "064": 70}
    found = only(reference, darker)
    assert found.alarm
    assert (found.question, found.numeric) == ("080", True)
    assert found.window_share == 1
    assert found.change == pytest.approx(39 / 59)


def test_a_change_of_less_than_the_least_is_shown_in_large_windows_and_is_no_alarm() -> None:
    reference, window = {"064": 2_500, "080": 2_500}, {"064": 29_900, "080": 20_100}
    found = only(reference, window)
    assert found.p_value < FALSE_ALARMS
    assert 0.09 < found.change < LEAST_CHANGE
    assert not found.alarm
    assert only(reference, {"064": 30_100, "080": 19_900}).alarm


def test_names_are_compared_one_by_one() -> None:
    found = only({"cup": 50, "plate": 50}, {"cup": 190, "plate": 10}, "label")
    assert (found.alarm, found.numeric) == (True, False)
    assert found.bins == LABELS
    assert (found.reference, found.window) == ((50, 50), (190, 10))


def test_the_surest_fact_comes_first_and_what_one_side_lacks_is_left_out() -> None:
    reference = {"label": {"cup": 50, "plate": 50}, "brightness": {"064": 100}, "mode": {"RGB": 100}, "foreign": {}}
    window = {"label": {"cup": 100, "plate": 100}, "brightness": {"128": 200}, "foreign": {"no": 200}}
    assert [(found.fact, found.alarm) for found in compare(reference, window, LABELS)] == [
        ("brightness", True),
        ("label", False),
    ]


def test_bins_of_another_salver_are_not_guessed_at() -> None:
    with pytest.raises(KeyError, match="brightness: 1e3"):
        only({"064": 50}, {"1e3": 50})


def test_questions_that_could_never_alarm_are_not_asked() -> None:
    asked = questions(59, 200, np.array([0, 1, 5, 70, 130, 258, 259]), FALSE_ALARMS)
    assert asked.tolist() == [False, False, False, True, True, False, False]


def test_the_least_that_can_be_seen_shrinks_with_the_reference() -> None:
    shares = [least_visible(reference, 200) for reference in (1, 20, 59, 500)]
    assert shares[0] is None
    seen = [share for share in shares if share is not None]
    assert len(seen) == 3
    assert seen == sorted(seen, reverse=True)
    assert seen[1] < 1 / 3 < seen[0]
    assert least_visible(5_000, 50_000) == LEAST_CHANGE
