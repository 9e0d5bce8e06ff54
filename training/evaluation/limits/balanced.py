"""Scores of a model that was trained with class weights, held against how many images there are of each label."""

import numpy as np

from salver.text import printable
from training.evaluation.predictions import Predictions

LEAST_SHARE, LEAST_IMAGES = 0.2, 2
"""Of a label's images, and images: its scores' sum has to be off by more than either to be worth a line."""
SHOWN = 3


def balanced_scores(evaluation: Predictions) -> list[str]:
    """A line when labels were weighted in training and a label's scores sum to another number than its images; or none.

    Weights teach a net labels that come equally often, or as the weights have it, and its scores then say how probable
    a label would be among such: added up over a set in which a label is rare they are far more than its images.
    """
    if not evaluation.weighted:
        return []
    counts = np.bincount(evaluation.truths, minlength=len(evaluation.labels)).tolist()
    rows = zip(evaluation.labels, counts, evaluation.score_sums.tolist(), strict=True)
    off = [
        f"'{printable(label)}' has {count} and {total:.1f}"
        for label, count, total in rows
        if abs(total - count) > max(LEAST_IMAGES, LEAST_SHARE * count)
    ]
    if not off:
        return []
    more = ", …" if len(off) > SHOWN else ""
    return [
        "scores are those of labels balanced by class weights, not of how often each comes here; images and sum of "
        f"scores: {', '.join(off[:SHOWN])}{more}"
    ]
