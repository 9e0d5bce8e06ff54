"""95 % intervals, because test sets are small: Wilson's for shares, one made of theirs for means of shares, and the
bootstrap's for everything else.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from training.evaluation.schema import Estimate

LEVEL = 0.95
RESAMPLES = 1000
WEIGHTS_AT_ONCE = 50_000
"""Resamples are drawn in turns of so many weights, so that memory stays flat."""

HANGING = 0.75
"""How much of Nadeau and Bengio's addition to the variance answers by folds have."""
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


def wilson(count: float, total: float) -> tuple[float, float]:
    """Of a share; `total` is above 0."""
    share, score = count / total, float(norm.ppf((1 + LEVEL) / 2))
    middle = share + score**2 / (2 * total)
    reach = score * math.sqrt(share * (1 - share) / total + (score / (2 * total)) ** 2)
    scale = 1 + score**2 / total
    # A share of 0 or 1 is its own end, which rounding would miss.
    low = (middle - reach) / scale if share > 0 else 0.0
    high = (middle + reach) / scale if share < 1 else 1.0
    return low, high


def by_folds(count: int, total: int, folds: int) -> tuple[float, float]:
    """Of a share of answers by folds, which hang together: each photo is judged by what the others teach, and teaches
    what judges them, so that the share varies more than one of independent answers and Wilson's interval is too narrow.

    It is Wilson's for so many fewer answers as make up for that. By Nadeau and Bengio ("Inference for the
    generalization error", 2003), who guess that the answers of two folds have a correlation of 1 / folds, the variance
    is 2 - 1 / folds times that of independent answers. That guess is found to be too wide; of what it adds HANGING is
    taken, which is what simulations show (`tools/bench/coverage.py`) and no theorem: there is no unbiased estimate of
    this variance (Bengio and Grandvalet, 2004).
    """
    times = 1 + HANGING * (1 - 1 / folds)
    return wilson(count / times, total / times)


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
