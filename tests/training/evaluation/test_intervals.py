"""Intervals hold the figure that they are of."""

import numpy as np
import pytest

from training.evaluation.intervals import Weights, bootstrap
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
