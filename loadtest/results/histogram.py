"""Latencies in buckets of a fixed relative width, so that millions of them take little memory and add up."""

import math
from collections import Counter
from collections.abc import Iterable

# DDSketch's mapping (Masson, Rim and Lee, 2019): a bucket's middle is within 1 % of every value in it.
RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SMALLEST_MS = 0.001

Histogram = Counter[int]
"""How many values lie in each bucket."""


def bucket_of(milliseconds: float) -> int:
    """The bucket of a value; everything up to a microsecond shares the lowest."""
    return math.ceil(math.log(max(milliseconds, _SMALLEST_MS) / _SMALLEST_MS, _GAMMA))


def value_of(bucket: int) -> float:
    """The middle of a bucket, in milliseconds."""
    return float(_SMALLEST_MS * _GAMMA**bucket * 2 / (1 + _GAMMA))


def total(histograms: Iterable[Histogram]) -> Histogram:
    """All values of several histograms in one."""
    added: Histogram = Counter()
    for histogram in histograms:
        added.update(histogram)
    return added


def percentile(histogram: Histogram, percent: float) -> float | None:
    """The value, in milliseconds, that `percent` of all values do not exceed; None when there are none."""
    wanted = math.ceil(histogram.total() * percent / 100)
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= wanted:
            return value_of(bucket)
    return None


def mean(histogram: Histogram) -> float | None:
    """The mean in milliseconds; None when there are no values."""
    count = histogram.total()
    return sum(value_of(bucket) * number for bucket, number in histogram.items()) / count if count else None
