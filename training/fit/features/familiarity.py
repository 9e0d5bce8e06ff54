"""How much an image is like the training photos, told by the feature vectors of the net that is exported.

The unit vectors of photos of one kind lie close to a plane of few directions, and those of other things do not. What
such a plane leaves of a vector is therefore small for one's own photos and large for foreign ones (docs/limits.md has
what was measured). The plane is kept, which holds no single photo's vector.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn

from salver.artifact.manifest import Familiarity
from training.dataset.dataset import Dataset, evenly
from training.dataset.split.shares import together

FOLDS = 10
MOST_PHOTOS = 5_000
"""Of more, so many are taken evenly: neither plane nor threshold gains by the others."""
LEAST_PHOTOS = 4
PHOTOS_A_DIRECTION = 4
MOST_DIRECTIONS = 60
EXACT = 500
"""Up to so many photos all directions are computed, of which the first are taken."""


class Plane(nn.Module):
    """Features [batch, width] to familiarity [batch]: 1 less the length of what the plane leaves, from -1 to 1.

    Not a number for a vector that is zero or not finite: such an image is like nothing.
    """

    centre: Tensor
    directions: Tensor

    def __init__(self, centre: Tensor, directions: Tensor) -> None:
        """float32 [width] and [width, directions], the latter orthonormal."""
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("directions", directions)

    def forward(self, features: Tensor) -> Tensor:
        away = unit(features) - self.centre
        rest = away - nn.functional.linear(away @ self.directions, self.directions)
        return cast(Tensor, 1 - torch.linalg.vector_norm(rest, dim=1))


class Fitted(NamedTuple):
    """The plane of all photos, and each different photo's familiarity to the plane of the other folds."""

    plane: Plane
    scores: NDArray[np.float32]

    def judged(self, max_false_alarms: float) -> Familiarity:
        """The threshold below which at most that share of photos like these lies (conformal quantile).

        Where so few photos cannot give that rate, it is the least that they can: 1 / (photos + 1).
        """
        photos = len(self.scores)
        below = max(1, int(np.floor(max_false_alarms * (photos + 1) + 1e-9)))
        return Familiarity(
            threshold=float(np.sort(self.scores)[below - 1]),
            max_false_alarms=max_false_alarms,
            reached=below / (photos + 1),
            photos=photos,
            directions=self.plane.directions.shape[1],
        )


def unit(features: Tensor) -> Tensor:
    """Each vector [batch, width] at length 1. Divided by its largest number first, so that no square overflows."""
    scaled = features / features.abs().amax(dim=1, keepdim=True)
    return cast(Tensor, scaled / torch.linalg.vector_norm(scaled, dim=1, keepdim=True))


def judged_photos(train: Dataset) -> tuple[Dataset, list[int]]:
    """The photos that plane and threshold are taken from, each content once, and a number for each: photos that look
    alike have the same, so that none is judged by its copy. Of many, whole groups are taken evenly.
    """
    first = {image.sha256: image for image in reversed(train.images)}
    groups = together(list(first.values()), None)
    if len(first) > MOST_PHOTOS:
        groups = evenly(groups, len(groups) * MOST_PHOTOS // len(first))
    photos = tuple(image for group in groups for image in group)
    return Dataset(photos, train.labels), [number for number, group in enumerate(groups) for _ in group]


def fit_familiarity(features: Tensor, numbers_of: Sequence[int], seed: int) -> Fitted | None:
    """Of features [photos, width] of different photos; those with one number in `numbers_of` lie in one fold.

    None for fewer than LEAST_PHOTOS, or fewer than two folds of vectors that are numbers and not zero.
    """
    vectors = unit(features)
    good = vectors.isfinite().all(dim=1)
    vectors, numbers = vectors[good], np.unique(np.asarray(numbers_of)[good.numpy()], return_inverse=True)[1]
    folds = min(FOLDS, int(numbers.max(initial=-1)) + 1)
    if len(vectors) < LEAST_PHOTOS or folds < 2:
        return None
    fold = np.random.default_rng(seed).permutation(int(numbers.max()) + 1)[numbers] % folds
    # As many in each fold as in the end: a plane of more directions would find everything more familiar.
    least = len(vectors) - int(np.bincount(fold).max())
    count = max(1, min(len(vectors) // PHOTOS_A_DIRECTION, MOST_DIRECTIONS, least - 1, vectors.shape[1] - 1))
    scores = np.empty(len(vectors), np.float32)
    for number in range(folds):
        held = torch.from_numpy(fold == number)
        scores[held.numpy()] = _plane(vectors[~held], count, seed)(vectors[held]).numpy()
    return Fitted(_plane(vectors, count, seed), scores)


def _plane(vectors: Tensor, count: int, seed: int) -> Plane:
    # Of few vectors an exact one takes milliseconds; scikit-learn chooses by the larger side, and the randomised one
    # that it takes for wide vectors a third of a second.
    solver = "full" if min(vectors.shape) <= EXACT else "auto"
    fitted = PCA(count, svd_solver=solver, random_state=seed).fit(vectors.numpy().astype(np.float64))
    directions = torch.from_numpy(fitted.components_.T.astype(np.float32)).contiguous()
    return Plane(torch.from_numpy(fitted.mean_.astype(np.float32)), directions)
