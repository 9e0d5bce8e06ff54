from collections import Counter

import numpy as np
import pytest

from loadtest.results.record import bucket_of, mean, percentile, total


def test_percentiles_are_within_two_hundredths_of_the_exact_ones() -> None:
    values = np.random.default_rng(0).lognormal(3, 1, 5003)
    histogram = Counter(map(bucket_of, values))
    for percent in (1, 50, 95, 99, 99.9):
        exact = np.percentile(values, percent, method="inverted_cdf")
        assert percentile(histogram, percent) == pytest.approx(exact, rel=0.011)
    assert mean(histogram) == pytest.approx(values.mean(), rel=0.011)


def test_histograms_add_up() -> None:
    assert total([Counter({1: 2}), Counter({1: 1, 5: 1})]) == {1: 3, 5: 1}


def test_nothing_has_no_percentile_and_no_mean() -> None:
    assert percentile(Counter(), 99) is None
    assert mean(Counter()) is None


def test_a_latency_of_nothing_has_a_bucket() -> None:
    assert bucket_of(0) == bucket_of(-1) == 0
