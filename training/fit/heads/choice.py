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


def choose(ways: Sequence[OutOfFold], others: Sequence[NDArray[np.float32]] | None = None) -> Choice:
    """By the likelihood of the truths, each way at its own temperature.

    `others` are what each way answers for the other folds without having learnt the fold, by `out_of_two_folds`: by
    them the folds choose. Without them the ways' own answers have to do, of which the fold has a part.
    """
    first, likely = ways[0], np.stack([_likelihoods(way) for way in ways])

    def best(fold: int) -> int:
        judges = first.judged & (first.folds != fold)
        by = likely
        if others is not None:
            known = np.logical_and.reduce([np.isfinite(logits[fold]).all(axis=1) for logits in others])
            if (judges & known).any():
                judges = judges & known
                by = np.stack([_likelihoods(_heard(first, logits[fold], judges)) for logits in others])
        return int(by[:, judges].sum(axis=1).argmax())

    whole = int(likely[:, first.judged].sum(axis=1).argmax())
    return Choice(whole, tuple(best(fold) for fold in range(int(first.folds.max(initial=-1)) + 1)))


def _heard(way: OutOfFold, logits: NDArray[np.float32], judges: NDArray[np.bool_]) -> OutOfFold:
    """These answers, of the `judges` alone."""
    heard = np.where(judges[:, None], logits, np.float32("nan"))
    return OutOfFold(heard, way.truths, np.where(judges, way.folds, -1))


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
    def of(cls, ways: Sequence[OutOfFold], others: Sequence[NDArray[np.float32]] | None = None) -> "tuple[int, Judged]":
        """The number of the better way, and it; `others` as in `choose`."""
        choice = choose(ways, others)
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
