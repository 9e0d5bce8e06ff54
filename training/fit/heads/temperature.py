"""The temperature that makes softmax scores honest (Guo et al., "On calibration of modern neural networks", 2017)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from salver.text import counted

WIDEST = 10.0
"""The temperature lies between the tenth part and ten times of what makes the logits' spread 1."""
LEAST_PHOTOS = 20
"""With fewer, chance decides: of twelve photos one more or less that is right was measured to halve it."""


class Temperature(NamedTuple):
    """What logits are divided by before the softmax; `reason` says why it is 1 where nothing was fitted."""

    value: float
    reason: str = ""


def temperature_of(logits: NDArray[np.float32], truths: NDArray[np.int64]) -> Temperature:
    """By answers [images, classes] for photos that were not learnt from, and their labels [images]."""
    finite = int(np.isfinite(logits).all(axis=1).sum())
    if finite < LEAST_PHOTOS:
        return Temperature(
            1.0,
            f"the temperature stays 1, so scores are not calibrated: {counted(finite, 'photo')} could be judged, and "
            f"it takes {LEAST_PHOTOS}",
        )
    return Temperature(fit_temperature(logits, truths))


def fit_temperature(logits: NDArray[np.float32], truths: NDArray[np.int64]) -> float:
    """The divisor of logits [images, classes] under which `truths` [images] are likeliest; 1 without finite logits.

    A handful of images that are all right would ask for certainty. So each truth counts as (n + 1) / (n + 2), as if
    one more image had been right and one wrong (Platt, 1999), and the other labels share the rest.
    """
    finite = np.isfinite(logits).all(axis=1)
    logits, truths = logits[finite].astype(np.float64), truths[finite]
    spread = float(logits.std()) if logits.size else 0.0
    if spread == 0:
        return 1.0
    count, classes = logits.shape
    wanted = np.full(logits.shape, 1 / (count + 2) / (classes - 1))
    wanted[np.arange(count), truths] = (count + 1) / (count + 2)

    def surprise(log_temperature: float) -> float:
        return -float((wanted * log_softmax(logits / np.exp(log_temperature), axis=1)).sum())

    middle, reach = np.log(spread), np.log(WIDEST)
    return float(np.exp(minimize_scalar(surprise, bounds=(middle - reach, middle + reach), method="bounded").x))
