"""The better of several ways by folds, and a figure that the choice did not make better than it is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from training.fit.heads.out_of_fold import OutOfFold
from training.fit.heads.temperature import fit_temperature


class Choice(NamedTuple):
    """Of several ways to answer for the same photos in the same folds."""

    number: int
    """Of the way under which the truths are likeliest, the first of equals."""
    by_fold: tuple[int, ...]
    """Of the way that the other folds alone would have chosen, for each fold."""

    def applied(self, ways: Sequence[OutOfFold]) -> OutOfFold:
        """The answers with the choice in the loop, each fold's from the way that the others choose: what was chosen on
        a photo would flatter its own figure. All at the temperature of the way that was chosen.
        """
        own = ways[self.number]
        logits = own.logits.copy()
        for fold, number in enumerate(self.by_fold):
            if number != self.number:
                held = own.folds == fold
                logits[held] = ways[number].logits[held] * (_temperature(own) / _temperature(ways[number]))
        return own._replace(logits=logits)


def choose(ways: Sequence[OutOfFold]) -> Choice:
    """By the likelihood of the truths, each way at its own temperature."""
    first, likely = ways[0], np.stack([_likelihoods(way) for way in ways])

    def best(judges: NDArray[np.bool_]) -> int:
        return int(likely[:, judges].sum(axis=1).argmax())

    folds = range(int(first.folds.max(initial=-1)) + 1)
    return Choice(best(first.judged), tuple(best(first.judged & (first.folds != fold)) for fold in folds))


def _likelihoods(way: OutOfFold) -> NDArray[np.float64]:
    """[images], the logarithm of the truth's probability; 0 where none was judged."""
    found = np.zeros(len(way.truths))
    truths = way.truths[way.judged]
    scores = log_softmax(way.logits[way.judged].astype(np.float64) / _temperature(way), axis=1)
    found[way.judged] = scores[np.arange(len(truths)), truths]
    return found


def _temperature(way: OutOfFold) -> float:
    return fit_temperature(way.logits, way.truths)


class Judged(NamedTuple):
    """How well what was fitted does on photos that it did not learn."""

    answers: OutOfFold
    """Of the way that was chosen: what its temperature is fitted on."""
    figure: OutOfFold
    """With the choices in the loop: what its accuracy is computed from."""

    @classmethod
    def of(cls, ways: Sequence[OutOfFold]) -> "tuple[int, Judged]":
        """The number of the better way, and it."""
        choice = choose(ways)
        return choice.number, cls(ways[choice.number], choice.applied(ways))

    def beside(self, answers: OutOfFold) -> "Judged":
        """Of other answers for the same photos, with the choice that is in the loop here: where another way was taken
        here, it is taken there too.
        """
        changed = answers.judged.copy()
        changed[changed] = (self.figure.logits != self.answers.logits)[changed].any(axis=1)
        logits = answers.logits.copy()
        logits[changed] = self.figure.logits[changed] * (_temperature(answers) / _temperature(self.answers))
        return Judged(answers, answers._replace(logits=logits))

    def against(self, other: "Judged") -> "tuple[bool, Judged]":
        """Whether this is better than the `other`, and the better one, with that choice in the loop too."""
        choice = choose([self.answers, other.answers])
        better = (self, other)[choice.number]
        return better is self, better._replace(figure=choice.applied([self.figure, other.figure]))
