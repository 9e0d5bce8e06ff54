"""The temperature that makes probabilities honest (Guo et al., "On calibration of modern neural networks", 2017)."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

WIDEST = 100.0
"""The temperature lies between the hundredth part and a hundred times of what makes the logits' spread 1."""


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
