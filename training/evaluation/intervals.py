"""95 % intervals, because test sets are small: Wilson's for shares, the bootstrap's for everything else."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from training.evaluation.schema import Estimate

LEVEL = 0.95
RESAMPLES = 1000
WEIGHTS_AT_ONCE = 50_000
"""Resamples are drawn in turns of so many weights, so that memory stays flat."""

SAME = 1e-12
"""Figures that differ by less are one figure: sums in another order."""

Weights = NDArray[np.float64]
Statistic = Callable[[Weights], NDArray[np.float64]]
"""From weights [resamples, images], how often each resample has each image, to figures [resamples, figures]."""


def proportion(count: int, total: int, reason: str) -> Estimate:
    """`count` of `total` with Wilson's interval (1927), which is sound for small and for extreme shares too.

    Null with `reason` when there are none in total.
    """
    if total == 0:
        return Estimate(value=None, reason=reason)
    low, high = wilson(count, total)
    return Estimate(value=count / total, low=low, high=high)


def wilson(count: int, total: int) -> tuple[float, float]:
    """Of a share; `total` is at least 1."""
    interval = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap(figures: Sequence[Estimate], statistic: Statistic, images: int) -> list[Estimate]:
    """The same figures with the bias-corrected percentile interval of resampled sets (Efron, 1981).

    Where all resamples agree, as for a set that is all right, they do not say how far the figure varies, and the
    interval is null.
    """
    resampled = np.concatenate([statistic(weights) for weights in _weights(images)])
    return [_with_interval(figure, column) for figure, column in zip(figures, resampled.T, strict=True)]


def _weights(images: int) -> Iterator[Weights]:
    generator = np.random.default_rng(0)  # so that the same answers give the same report
    turn = max(1, min(RESAMPLES, WEIGHTS_AT_ONCE // images))
    for start in range(0, RESAMPLES, turn):
        count = min(turn, RESAMPLES - start)
        yield generator.multinomial(images, np.full(images, 1 / images), count).astype(np.float64)


def _with_interval(figure: Estimate, resampled: NDArray[np.float64]) -> Estimate:
    found = resampled[np.isfinite(resampled)]
    if figure.value is None:
        return figure
    if not len(found) or np.ptp(found) < SAME:
        return Estimate(value=figure.value, reason="all resamples of the set give the same figure: no interval")
    below = np.mean(found < figure.value - SAME) + np.mean(np.abs(found - figure.value) <= SAME) / 2
    bias = norm.ppf(np.clip(below, 1 / len(found), 1 - 1 / len(found)))
    tail = norm.ppf((1 - LEVEL) / 2)
    low, high = np.quantile(found, norm.cdf([2 * bias + tail, 2 * bias - tail]))
    # Of a handful of images all resamples can lie on one side of the figure, which belongs to its interval anyway.
    return Estimate(value=figure.value, low=min(float(low), figure.value), high=max(float(high), figure.value))
