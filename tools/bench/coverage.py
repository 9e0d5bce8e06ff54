"""How often the interval of a figure by folds holds the truth:  python -m tools.bench.coverage [--sets 1000]

Features stand for photos. They are drawn from a known mixture, in two resizes, each with some noise of its own.
Each set is evaluated as `salver evaluate --folds 5 --head svm` does it: an outer fold's last layer is fitted on the
others, with the resize that their own folds choose. The truth is the accuracy of such layers, fitted on so many photos,
on photos of the same mixture without end. Printed is the share of the intervals that hold it: the mean accuracy of
layers that are fitted on so many photos of the mixture; and that of the five layers of the set itself.

With --shuffled no feature tells the labels apart, and what is judged is what `salver train` prints: the accuracy out of
fold with the choice of the resize in the loop. Half the photos have either label, so the truth is .5.
"""

import argparse
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from salver.messages import show
from training.evaluation.intervals import by_folds, wilson
from training.fit.heads.choice import Judged
from training.fit.heads.linear import Linear, fit_linear, make_head
from training.fit.heads.out_of_fold import out_of_fold, out_of_two_folds
from training.run.classifier import FOLDS

Floats = NDArray[np.float32]
FRESH = 20_000
"""Photos that a layer's true accuracy is counted on."""


class Photos(NamedTuple):
    """Features [resizes, photos, width] and labels [photos]."""

    features: Floats
    labels: NDArray[np.int64]

    def some(self, chosen: NDArray[np.bool_]) -> "Photos":
        return Photos(self.features[:, chosen], self.labels[chosen])


class Mixture:
    """Each label's photos lie around a centre; `apart` is how far the centres lie, in deviations."""

    def __init__(self, labels: int, width: int, apart: float, random: np.random.Generator) -> None:
        self.labels = labels
        self._width = width
        self._random = random
        basis = np.linalg.qr(random.normal(size=(width, labels)))[0].T
        self._centres = basis * apart / np.sqrt(2)

    def draw(self, photos: int) -> Photos:
        """So many, of each label the same number."""
        labels = np.arange(photos) % self.labels
        shape = photos, self._width
        own = self._centres[labels] + self._random.normal(size=shape)
        ways = [own + noise * self._random.normal(size=shape) for noise in (0.5, 0.6)]
        return Photos(np.asarray(ways, np.float32), labels)


def folds_of(photos: Photos, random: np.random.Generator) -> NDArray[np.int64]:
    """[photos]: as `Dataset.folds` where no photos belong together."""
    found = np.empty(len(photos.labels), np.int64)
    parts = StratifiedKFold(FOLDS, shuffle=True, random_state=int(random.integers(2**31)))
    for number, (_, held) in enumerate(parts.split(photos.labels, photos.labels)):
        found[held] = number
    return found


def judged(photos: Photos, labels: int, random: np.random.Generator, *, figure: bool = False) -> tuple[int, Judged]:
    """As a fit of the last layer judges its photos: the number of the better resize, and what it answers; what a
    `figure` takes besides is left out unless it is wanted.
    """
    counts = np.bincount(photos.labels, minlength=labels).tolist()
    folds = folds_of(photos, random)
    head = make_head("svm", None, counts)
    targets = torch.from_numpy(photos.labels)
    fits = [(head, torch.from_numpy(way), targets, labels, folds) for way in photos.features]
    others = [out_of_two_folds(*fit) for fit in fits] if figure else None
    return Judged.of([out_of_fold(*fit) for fit in fits], others)


def right(layer: Linear, features: Floats, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[photos]"""
    found = (torch.from_numpy(features) @ layer.weight.T + layer.bias).argmax(1).numpy()
    return np.asarray(found == labels, bool)


class Found(NamedTuple):
    """Of one set: how many photos are right, of how many, and the true accuracy of its layers."""

    right: int
    photos: int
    truth: float

    def holds(self, truth: float) -> bool:
        """Whether the interval does that `salver evaluate --folds` prints."""
        low, high = by_folds(self.right, self.photos, FOLDS)
        return low <= truth <= high

    def wilson_holds(self, truth: float) -> bool:
        """Whether that of independent answers does."""
        low, high = wilson(self.right, self.photos)
        return low <= truth <= high


def evaluated(mixture: Mixture, photos: int, fresh: Photos, random: np.random.Generator) -> Found:
    """One set of so many photos, evaluated by folds."""
    drawn = mixture.draw(photos)
    outer = folds_of(drawn, random)
    hits, truths = 0, []
    for number in range(FOLDS):
        learnt, held = drawn.some(outer != number), drawn.some(outer == number)
        way, _ = judged(learnt, mixture.labels, random)
        counts = np.bincount(learnt.labels, minlength=mixture.labels).tolist()
        features, targets = torch.from_numpy(learnt.features[way]), torch.from_numpy(learnt.labels)
        layer = fit_linear(make_head("svm", None, counts), features, targets, mixture.labels)
        hits += int(right(layer, held.features[way], held.labels).sum())
        truths.append(float(right(layer, fresh.features[way], fresh.labels).mean()))
    return Found(hits, photos, float(np.mean(truths)))


def shuffled(photos: int, width: int, random: np.random.Generator) -> Found:
    """One set of so many photos, half of either label, of which nothing can be told."""
    _, found = judged(Mixture(2, width, 0.0, random).draw(photos), 2, random, figure=True)
    figure = found.figure
    hits = int((figure.logits[figure.judged].argmax(axis=1) == figure.truths[figure.judged]).sum())
    return Found(hits, int(figure.judged.sum()), 0.5)


def report(name: str, found: list[Found], truth: float) -> None:
    """A line."""
    shares = np.array([one.right / one.photos for one in found])
    holds = np.mean([one.holds(truth) for one in found])
    plain = np.mean([one.wilson_holds(truth) for one in found])
    own = np.mean([one.holds(one.truth) for one in found])
    error = shares.std(ddof=1) / np.sqrt(len(found))
    spread = shares.var(ddof=1) / (truth * (1 - truth) / found[0].photos)
    show(
        f"{name}: figure {shares.mean():.4f} ± {error:.4f}, truth {truth:.4f}; the interval holds it in {holds:.1%} "
        f"(Wilson's: {plain:.1%}), and that of the set's own layers in {own:.1%}; variance {spread:.2f} times that of "
        "independent answers"
    )


def main() -> None:
    """Print a line for each mixture and number of photos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000, help="sets of photos of each kind")
    parser.add_argument("--shuffled", action="store_true", help="labels that nothing tells apart, as train judges them")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = count(arguments.seed)
    if arguments.shuffled:
        random = np.random.default_rng(next(seeds))
        for photos in (40, 80):
            found = [shuffled(photos, 64, random) for _ in range(arguments.sets)]
            report(f"{photos} photos of 2 labels, shuffled", found, 0.5)
        return
    for labels, apart in ((2, 0.0), (2, 3.0), (4, 3.5), (4, 6.0)):
        for photos in (48, 136):
            random = np.random.default_rng(next(seeds))
            mixture = Mixture(labels, 64, apart, random)
            fresh = mixture.draw(FRESH)
            found = [evaluated(mixture, photos, fresh, random) for _ in range(arguments.sets)]
            truth = float(np.mean([one.truth for one in found]))
            report(f"{photos} photos of {labels} labels, {apart} deviations apart", found, truth)


if __name__ == "__main__":
    main()
