"""Outputs to answers, and when there is none: one rule for training's figures and the service's answers."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """softmax(logits / temperature) over the last axis, of the same shape, for finite logits.

    In float64 and shifted by the largest, so that none overflows. Scores are compared with thresholds: the last digit
    counts, and is the same for one image as for many.
    """
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def abstains(thresholds: Mapping[str, float] | None, label: str, probability: float) -> bool:
    """Whether `label`, the best one, is not given because its probability is below its threshold."""
    return probability < (thresholds or {}).get(label, 0.0)


def is_foreign(familiarity: float, threshold: float) -> bool:
    """Whether an image is unlike the training photos. One whose familiarity is no number is."""
    return not familiarity >= threshold
