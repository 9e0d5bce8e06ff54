"""Intervals hold the figure that they are of."""

import numpy as np
import pytest
from scipy.stats import binomtest

from training.evaluation.intervals import Weights, bootstrap, by_folds, mean_of, proportion, wilson
from training.evaluation.schema import Estimate


@pytest.mark.parametrize("value", [-1.0, 0.5, 2.0])
def test_an_interval_holds_its_figure_although_all_resamples_lie_on_one_side(value: float) -> None:
    """As they can with a handful of images: each resample leaves some out."""

    def shares(weights: Weights) -> Weights:
        return np.asarray(weights[:, :1] / weights.sum(axis=1, keepdims=True))

    (found,) = bootstrap([Estimate(value=value)], shares, 5)
    assert found.value == value
    assert found.low is not None
    assert found.high is not None
    assert found.low <= value <= found.high
    assert found.low < found.high


# Row N3-28: all right or none right is no certainty.
@pytest.mark.parametrize(("count", "total"), [(9, 9), (0, 2), (40, 40), (1, 1), (20, 40), (133, 134)])
@pytest.mark.parametrize("folds", [1, 2, 5])
def test_a_share_has_an_interval_of_some_width_that_holds_it(count: int, total: int, folds: int) -> None:
    found = proportion(count, total, "", folds)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.01
    assert (found.low < found.value) == (count > 0)
    assert (found.high > found.value) == (count < total)


def test_nine_of_nine_are_seventy_per_cent_or_more_and_forty_by_folds_less_sure_than_forty() -> None:
    assert proportion(9, 9, "").low == pytest.approx(0.7009, abs=1e-4)
    assert wilson(40, 40)[0] == pytest.approx(0.9124, abs=1e-4)
    assert by_folds(40, 40, 5) == pytest.approx((0.8668, 1.0), abs=1e-4)
    assert by_folds(32, 40, 5) == pytest.approx(wilson(20, 25))


@pytest.mark.parametrize(("count", "total"), [(0, 1), (1, 1), (3, 7), (128, 134), (0, 50)])
def test_wilsons_interval_is_scipys(count: int, total: int) -> None:
    theirs = binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert wilson(count, total) == pytest.approx((theirs.low, theirs.high))


def test_the_mean_of_shares_has_an_interval_on_both_sides_where_it_can() -> None:
    """5 of 5 of one label are right and 0 of 2 of another one: .5, which said '.5000 to 1.0000'."""
    found = mean_of([proportion(5, 5, ""), proportion(0, 2, "")])
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - (1 - wilson(5, 5)[0]) / 2)
    assert found.high == pytest.approx(0.5 + wilson(0, 2)[1] / 2)
    all_right = mean_of([proportion(5, 5, ""), proportion(3, 3, "")])
    assert all_right.value == all_right.high == 1
    assert all_right.low == pytest.approx(1 - np.hypot(1 - wilson(5, 5)[0], 1 - wilson(3, 3)[0]) / 2)
    lacking = mean_of([proportion(5, 5, ""), proportion(0, 0, "none")])
    assert lacking.value == 1
    assert lacking.low == pytest.approx(wilson(5, 5)[0])


def test_the_mean_of_shares_is_held_about_as_often_as_its_interval_says() -> None:
    random, holds = np.random.default_rng(3), 0
    truths, totals = np.array([0.95, 0.9, 0.7, 0.99]), np.array([11, 12, 4, 10])
    for _ in range(1000):
        counts = random.binomial(totals, truths).tolist()
        found = mean_of([proportion(*each, "") for each in zip(counts, totals.tolist(), strict=True)])
        holds += (found.low or 0) <= truths.mean() <= (found.high or 0)
    assert holds >= 930
