"""What a last layer answers for photos that it was not fitted on: each photo is judged once, by the other folds."""

import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.fit.heads.linear import Estimator, fit_linear


class OutOfFold(NamedTuple):
    """Of the photos that a fit learnt from, in their order."""

    logits: NDArray[np.float32]
    """[images, classes]; not a number for a photo that no fold could judge."""
    truths: NDArray[np.int64]
    folds: NDArray[np.int64]
    """[images], -1 for a photo that is always learnt and never judged."""

    @property
    def judged(self) -> NDArray[np.bool_]:
        """[images]"""
        return np.greater_equal(self.folds, 0)

    @property
    def accuracy(self) -> float:
        """The share of the judged photos that is right; not a number without any."""
        right = self.logits[self.judged].argmax(axis=1) == self.truths[self.judged]
        return float(right.mean()) if len(right) else float("nan")


def out_of_fold(
    estimator: Estimator, features: Tensor, targets: Tensor, classes: int, folds: NDArray[np.int64]
) -> OutOfFold:
    """By fits of the same `estimator` on features [images, width] of the other folds. Raises as `fit_linear` does."""
    logits = torch.full((len(targets), classes), torch.nan)
    for number in range(int(folds.max(initial=-1)) + 1):
        held = torch.from_numpy(folds == number)
        layer = fit_linear(copy.deepcopy(estimator), features[~held], targets[~held], classes)
        logits[held] = features[held] @ layer.weight.T + layer.bias
    return OutOfFold(logits.numpy(), targets.numpy(), folds)


def out_of_two_folds(
    estimator: Estimator, features: Tensor, targets: Tensor, classes: int, folds: NDArray[np.int64]
) -> NDArray[np.float32]:
    """[folds, images, classes]: what judges the photos of all folds but one by fits that did not learn that one either.

    Of `out_of_fold`'s answers those for the other folds come from fits that did learn it: two photos that are taken for
    like ones by a wrong chance speak for each other, so that what suits the others flatters it. Not a number for the
    photos of the fold itself, and where two folds have all photos of a label.
    """
    count = int(folds.max(initial=-1)) + 1
    logits = torch.full((count, len(targets), classes), torch.nan)
    for one in range(count):
        for other in range(one):
            learnt = torch.from_numpy((folds != one) & (folds != other))
            if len(torch.unique(targets[learnt])) < classes:
                continue
            layer = fit_linear(copy.deepcopy(estimator), features[learnt], targets[learnt], classes)
            for chosen, held in ((one, other), (other, one)):
                photos = torch.from_numpy(folds == held)
                logits[chosen, photos] = features[photos] @ layer.weight.T + layer.bias
    return logits.numpy()
