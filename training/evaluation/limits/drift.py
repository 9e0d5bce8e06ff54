"""Whether a service's images are still of the kind that its model file was made for: the test behind `salver drift`.

Each fact is asked one question at each border between two of its bins ("below 96?"), or for each of its names ("label
'cup'?"). If nothing changed, reference and window are two draws from one distribution, and how the yeses fall between
them is hypergeometric, whatever that distribution is (Fisher's exact test). So the rate of false alarms holds for any
size of either and any shape of histogram, without an approximation that fails at small counts. A fact's p-value is the
smallest of its questions' times their number, and a fact alarms below its share of FALSE_ALARMS, so that the rate holds
for all facts together. Questions that could not alarm however the yeses fell are not asked and cost nothing (Tarone).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from salver.artifact.facts.bins import EDGES, FACTS, bins_of

FALSE_ALARMS = 2e-5
"""At most that share of windows in which nothing changed alarms, over all facts together: five times less than the 1 in
10,000 that is promised, so that 10,000 windows do not show two by bad luck."""
LEAST_CHANGE = 0.1
"""A share of images that changes by less is shown, however sure it is, and is no alarm."""
LEAST_LOOKS = 50
"""Of a window, with fewer of which nothing is said."""
LEAST_REFERENCE = 20

Counts = Mapping[str, Mapping[str, int]]
"""By fact and bin; a bin that is left out has none."""


@dataclass(frozen=True)
class FactDrift:
    """One fact in the reference and in the window."""

    fact: str
    bins: tuple[str, ...]
    reference: tuple[int, ...]
    window: tuple[int, ...]
    p_value: float
    """That nothing changed: the smallest of its questions, times their number; 1 at most."""
    question: str
    """Where the two differ most surely: a bin's name, or where the upper bins begin."""
    reference_share: float
    """Of the images, those in that bin; of numbers, those in the bins below it."""
    window_share: float
    alarm: bool

    @property
    def numeric(self) -> bool:
        """Whether it is a number, whose bins are in order; else a name."""
        return self.fact in EDGES

    @property
    def change(self) -> float:
        """Of the share, from -1 to 1."""
        return self.window_share - self.reference_share


def compare(reference: Counts, window: Counts, labels: Sequence[str]) -> tuple[FactDrift, ...]:
    """Each fact that both have, the surest change first. Raises KeyError for a bin that this version does not have.

    A fact that is left out by one of them is not compared, and the others need no less to alarm for it.
    """
    shared = [fact for fact in FACTS if all(sum(counts.get(fact, {}).values()) for counts in (reference, window))]
    known = {fact: bins_of(fact, labels) for fact in shared}
    for fact, bins in known.items():
        if unknown := (set(reference[fact]) | set(window[fact])) - set(bins):
            raise KeyError(f"{fact}: {min(unknown)}")
    drifts = [
        _fact(
            fact,
            bins,
            np.array([reference[fact].get(name, 0) for name in bins]),
            np.array([window[fact].get(name, 0) for name in bins]),
            FALSE_ALARMS / len(shared),
        )
        for fact, bins in known.items()
    ]
    return tuple(sorted(drifts, key=lambda drift: (not drift.alarm, drift.p_value)))


def _fact(
    fact: str, bins: Sequence[str], reference: NDArray[np.int64], window: NDArray[np.int64], level: float
) -> FactDrift:
    ordered = fact in EDGES
    totals = int(reference.sum()), int(window.sum())
    yes = (np.cumsum(reference)[:-1], np.cumsum(window)[:-1]) if ordered else (reference, window)
    asked = questions(totals[0], totals[1], yes[0] + yes[1], level)
    p_values = np.where(asked, tails(totals[0], totals[1], *yes), 1.0)
    shares = yes[0] / max(1, totals[0]), yes[1] / max(1, totals[1])
    changes = shares[1] - shares[0]
    adjusted = np.minimum(1.0, p_values * max(1, int(asked.sum())))
    alarms = (adjusted <= level) & (np.abs(changes) >= LEAST_CHANGE)
    # The surest of those that alarm; else of all.
    best = min(range(len(adjusted)), key=lambda place: (not alarms[place], adjusted[place], -abs(changes[place])))
    return FactDrift(
        fact,
        tuple(bins),
        tuple(reference.tolist()),
        tuple(window.tolist()),
        float(adjusted[best]),
        bins[best + 1] if ordered else bins[best],
        float(shares[0][best]),
        float(shares[1][best]),
        bool(alarms[best]),
    )


def least_visible(reference: int, window: int) -> float | None:
    """The share of a window that has to be such as no image of the reference is, for that to alarm if it is told
    without fail and by one question of one of all facts; None where even all of it would not do.
    """
    news = np.arange(window + 1)
    alarms = tails(reference, window, np.zeros_like(news), news) <= FALSE_ALARMS / len(FACTS)
    return max(LEAST_CHANGE, int(alarms.argmax()) / window) if alarms.any() else None


def questions(reference: int, window: int, yes: NDArray[np.int64], level: float) -> NDArray[np.bool_]:
    """Which of the questions [n], answered with so many yeses in both together, could alarm at that level at all.

    Told by the yeses of both together only, which say nothing of how they fall; so the choice costs nothing.
    """
    least = np.ones(len(yes))
    for most_in_window in (True, False):
        window_yes = np.minimum(yes, window) if most_in_window else np.maximum(0, yes - reference)
        reference_yes = yes - window_yes
        change = np.abs(window_yes / max(1, window) - reference_yes / max(1, reference))
        p_values = tails(reference, window, reference_yes, window_yes)
        least = np.where(change >= LEAST_CHANGE, np.minimum(least, p_values), least)
    for count in range(1, len(yes) + 1):
        if (asked := least <= level / count).sum() <= count:
            return asked
    return np.ones(len(yes), bool)


def tails(
    reference: int, window: int, reference_yes: NDArray[np.int64], window_yes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[n], the two-sided p-values of Fisher's test for so many yeses of `reference` and of `window` images: twice the
    smaller tail, 1 at most.
    """
    yes = reference_yes + window_yes
    low, high = np.maximum(0, yes - window), np.minimum(yes, reference)
    p_values = np.ones(len(yes))
    for place in np.flatnonzero(low < high):
        found = np.arange(low[place], high[place] + 1)
        weights = np.exp(log_chances(reference, window, int(yes[place]), found))
        at = int(reference_yes[place] - low[place])
        p_values[place] = min(1.0, 2 * min(weights[: at + 1].sum(), weights[at:].sum()))
    return p_values


def log_chances(
    reference: int, window: int, yes: NDArray[np.int64] | int, found: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[n], of each number of yeses in the reference, when all `yes` of them fall by chance."""

    def log_choose(n: int, k: NDArray[np.int64] | int) -> NDArray[np.float64]:
        return np.asarray(gammaln(n + 1) - gammaln(np.asarray(k) + 1) - gammaln(n - np.asarray(k) + 1))

    return log_choose(reference, found) + log_choose(window, yes - found) - log_choose(reference + window, yes)
