"""How probable each photo's given label is by what the other photos teach: the sum behind `salver check --labels`.

A linear discriminant analysis with a shrunk covariance takes a photo's unit feature vector to a probability for each
label. It has a closed form, so that several rounds of folds cost little, and too little freedom to learn a wrong label
by heart. It answers as scikit-learn's LinearDiscriminantAnalysis("lsqr", shrinkage=SHRINKAGE) does. But the sums over
the photos are made once for each fold, and what the other folds teach is all sums less its own; and of photos that are
fewer than their features, only the span is looked at.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse import csr_array
from scipy.special import softmax

SHRINKAGE = 0.9
"""Of the covariance towards a sphere."""
ROUNDS, FOLDS = 3, 5
"""One round's folds are one draw; over three the order of the doubtful photos hardly depends on it."""
MARGIN = 0.5
"""A label is doubtful when another one is more probable by more than this: in two of three rounds at least."""
LEAST_PHOTOS = 20
"""Different ones of a label, with fewer of which its photos are not doubted: docs/data.md has what was measured."""
_BLOCK = 8192
"""Photos whose vectors are at float64 at once."""


class _Sums(NamedTuple):
    """Over some photos: how many of each label [labels], their vectors' sums [labels, width], and the sum of the outer
    products [width, width]."""

    counts: NDArray[np.float64]
    vectors: NDArray[np.float64]
    products: NDArray[np.float64]

    def plus(self, other: "_Sums") -> "_Sums":
        return _Sums(*(one + two for one, two in zip(self, other, strict=True)))

    def less(self, other: "_Sums") -> "_Sums":
        return _Sums(*(one - two for one, two in zip(self, other, strict=True)))


class Ranking(NamedTuple):
    """Of each photo [photos] how probable its given label is, which other is the most probable, and that one's
    probability; not a number, and 0 for the label, for a photo that was not judged.
    """

    given: NDArray[np.float64]
    other: NDArray[np.int64]
    others: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> "Ranking":
        """Of probabilities [photos, labels], by `out_of_fold`, and the numbers of the given labels [photos]."""
        rows = np.arange(len(targets))
        rest = np.nan_to_num(probabilities, nan=0.0)
        rest[rows, targets] = -1
        other = rest.argmax(axis=1)
        judged = np.isfinite(probabilities[rows, targets])
        return cls(probabilities[rows, targets], other, np.where(judged, rest[rows, other], np.nan))

    @property
    def order(self) -> NDArray[np.int64]:
        """Places of the photos that were judged, the least probable first."""
        found = np.lexsort((-self.others, self.given))
        return found[np.isfinite(self.given[found])]

    @property
    def doubtful(self) -> NDArray[np.int64]:
        """Those in that order of which another label is more probable by MARGIN."""
        return self.order[(self.others - self.given)[self.order] > MARGIN]


def out_of_fold(
    features: NDArray[np.float32], targets: NDArray[np.int64], folds: NDArray[np.int64], labels: int
) -> NDArray[np.float64]:
    """[photos, labels], the mean over the rounds of each label's probability by what the other folds teach.

    Of features [photos, width], targets [photos] that number the given labels, and folds [rounds, photos], in which -1
    stands for a photo that is learnt each time and judged never. A row is not a number where no round judges the photo:
    it is one of those, its vector is zero or not finite, or the other folds never have its label. Another label that
    the other folds of a round lack has the probability 0 there.
    """
    vectors = _unit(features)
    good = np.isfinite(vectors).all(axis=1)
    vectors, own, rounds = vectors[good], targets[good], folds[:, good]
    width = vectors.shape[1]
    if len(vectors) < width:
        # Their span turned upright: what is outside of it is the same for each label.
        vectors = vectors @ np.linalg.qr(vectors.T.astype(np.float64))[0]
    found = np.zeros((len(vectors), labels))
    judged = np.zeros(len(vectors), np.int64)
    for numbers in rounds:
        parts = {number: np.flatnonzero(numbers == number) for number in np.unique(numbers).tolist()}
        sums = {number: _sums(vectors, own, places, labels) for number, places in parts.items()}
        whole = next(iter(sums.values()))
        for more in list(sums.values())[1:]:
            whole = whole.plus(more)
        for number, places in parts.items():
            learnt = whole.less(sums[number])
            asked = places[learnt.counts[own[places]] > 0]
            if number < 0 or not len(asked):
                continue
            found[asked] += _probabilities(learnt, vectors[asked], width)
            judged[asked] += 1
    found /= np.where(judged, judged, np.nan)[:, None]
    if good.all():
        return found
    rows = np.full((len(features), labels), np.nan)
    rows[good] = found
    return rows


def _sums(vectors: NDArray[np.float32], targets: NDArray[np.int64], places: NDArray[np.int64], labels: int) -> _Sums:
    width = vectors.shape[1]
    sums = _Sums(np.zeros(labels), np.zeros((labels, width)), np.zeros((width, width)))
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        some = vectors[block].astype(np.float64)
        kinds = csr_array((np.ones(len(block)), (targets[block], np.arange(len(block)))), (labels, len(block)))
        sums = sums.plus(_Sums(kinds.sum(axis=1), kinds @ some, some.T @ some))
    return sums


def _probabilities(learnt: _Sums, vectors: NDArray[np.float32], width: int) -> NDArray[np.float64]:
    """[photos, labels]; 0 for a label that was not learnt."""
    there = learnt.counts > 0
    counts, number = learnt.counts[there], learnt.counts.sum()
    means = learnt.vectors[there] / counts[:, None]
    within = (learnt.products - (means * counts[:, None]).T @ means) / number
    spread = max(float(np.trace(within)) / width, 1e-9)  # above 0 also where each label's photos are all alike
    shrunk = (1 - SHRINKAGE) * within + SHRINKAGE * spread * np.eye(len(within))
    directions = solve(shrunk, means.T, assume_a="pos")
    offsets = np.log(counts / number) - (means.T * directions).sum(axis=0) / 2
    found = np.zeros((len(vectors), len(there)))
    found[:, there] = softmax(vectors @ directions + offsets, axis=1)
    return found


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector at length 1, not a number where it is zero. By its largest number first: no square overflows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = features / np.abs(features).max(axis=1, keepdims=True)
        scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled, np.float32)
