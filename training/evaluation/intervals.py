"""95 % intervals, because test sets are small: Wilson's for shares, one made of theirs for means of shares, and the
bootstrap's for everything else.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from training.evaluation.schema import Estimate

LEVEL = 0.95
RESAMPLES = 1000
WEIGHTS_AT_ONCE = 50_000
"""Resamples are drawn in turns of so many weights, so that memory stays flat."""

TINY = 1e-9
"""A share that is no longer 0."""
SAME = 1e-12
"""Figures that differ by less are one figure: sums in another order."""

Weights = NDArray[np.float64]
Statistic = Callable[[Weights], NDArray[np.float64]]
"""From weights [resamples, images], how often each resample has each image, to figures [resamples, figures]."""


def proportion(count: int, total: int, reason: str, folds: int = 1) -> Estimate:
    """`count` of `total` with Wilson's interval (1927), which is sound for small and for extreme shares too; or that of
    `folds` nets, where each was asked about photos of its own fold.

    Null with `reason` when there are none in total.
    """
    if total == 0:
        return Estimate(value=None, reason=reason)
    low, high = wilson(count, total) if folds < 2 else by_folds(count, total, folds)
    return Estimate(value=count / total, low=low, high=high)


def wilson(count: int, total: int) -> tuple[float, float]:
    """Of a share; `total` is at least 1."""
    interval = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def by_folds(count: int, total: int, folds: int) -> tuple[float, float]:
    """Of a share of answers by folds, which hang together: each photo is judged by what the others teach, and teaches
    what judges them, so that the share varies more than one of independent answers and Wilson's interval is too narrow.

    It is a score interval, as Wilson's is: the shares p from which the found one lies no further than chance takes it.
    But the variance is 1 + 4 (1 - 1 / folds) p (1 - p) times that of independent answers. At p = .5 this is the
    variance of Nadeau and Bengio ("Inference for the generalization error", 2003), by whose guess the answers of two
    folds have a correlation of 1 / folds. Towards 0 and 1 it is Wilson's: photos that every net gets right hang on none
    of them. That it lies between in this way is no theorem (there is no unbiased estimate of this variance: Bengio and
    Grandvalet, 2004), but what simulations show; `tools/bench/coverage.py` has them.
    """
    share, score = count / total, float(norm.ppf((1 + LEVEL) / 2))

    def beyond(p: float) -> float:
        variance = p * (1 - p) / total * (1 + 4 * (1 - 1 / folds) * p * (1 - p))
        return (p - share) ** 2 - score**2 * variance

    # At 0 and 1 themselves nothing varies, so that a found share of 0 or 1 would be a root of its own.
    low = brentq(beyond, 0.0, min(share, 1 - TINY)) if count else 0.0
    high = brentq(beyond, max(share, TINY), 1.0) if count < total else 1.0
    return float(low), float(high)


def mean_of(figures: Sequence[Estimate]) -> Estimate:
    """The mean of figures of different images, such as the labels' recalls, with the interval that theirs make: Zou,
    Huang and Zhang's for a sum of shares ("A note on confidence interval estimation for a linear function of binomial
    proportions", 2009), whose ends lie as far from the mean as the root of the summed squares of theirs.

    Wilson's intervals have a width also for shares of 0 and 1, so this has, and it ends on the mean on one side only
    where all figures do. Figures that are null are left out; at least one is not.
    """
    found = [each for each in figures if each.value is not None]
    values = [each.value or 0.0 for each in found]
    mean = sum(values) / len(values)
    if any(each.low is None or each.high is None for each in found):
        return Estimate(value=mean, reason="one of the figures that it is the mean of has no interval")
    down = [value - (each.low or 0.0) for value, each in zip(values, found, strict=True)]
    up = [(each.high or 0.0) - value for value, each in zip(values, found, strict=True)]
    return Estimate(value=mean, low=mean - math.hypot(*down) / len(found), high=mean + math.hypot(*up) / len(found))


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
