"""One population, references and windows drawn from it, and how many of such pairs `salver drift` takes for two."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salver.artifact.facts.bins import EDGES, FACTS, bins_of
from training.evaluation.limits.drift import FALSE_ALARMS, LEAST_CHANGE, compare, log_chances

Columns = dict[str, NDArray[np.int64]]
"""For each fact [kinds], the number of the bin of each kind of image."""


class Population(NamedTuple):
    """Kinds of images, each with one bin of every fact, and how often each comes."""

    labels: tuple[str, ...]
    columns: Columns
    weights: NDArray[np.float64]


def population(kinds: int, labels: int, *, clumped: bool, seed: int) -> Population:
    """Facts hang together, as a dark image's label and probability do; `clumped`: few kinds make up most images."""
    rng = np.random.default_rng(seed)
    names = tuple(f"label {number}" for number in range(labels))
    hidden = rng.normal(size=kinds)
    columns: Columns = {}
    for fact in FACTS:
        bins = len(bins_of(fact, names))
        place = 0.7 * hidden + 0.7 * rng.normal(size=kinds)
        spread = rng.uniform(0.5, 2.5) if fact in EDGES else 2.5
        columns[fact] = np.clip(np.round(bins / 2 + spread * bins / 8 * place), 0, bins - 1).astype(np.int64)
    weights = 1 / np.arange(1, kinds + 1) if clumped else np.ones(kinds)
    return Population(names, columns, weights / weights.sum())


def false_alarms(people: Population, reference: int, window: int, pairs: int, seed: int) -> int:
    """Of so many pairs of a reference and a window, both drawn from the population, those that alarm.

    Only pairs that could alarm are handed to `compare`: a p-value is at least twice the chance of what was found.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(size, people.weights, size=pairs) for size in (reference, window)]
    suspects = np.zeros(pairs, bool)
    for fact, column in people.columns.items():
        here, there = (_yes(counts, fact, column, people.labels) for counts in drawn)
        changed = np.abs(there / window - here / reference) >= LEAST_CHANGE
        chance = log_chances(reference, window, here + there, here)
        level = np.log(FALSE_ALARMS / len(people.columns) / 2)
        suspects |= (changed & (chance <= level)).any(axis=1)
    alarms = 0
    for pair in np.flatnonzero(suspects):
        ours, theirs = (_counts(counts[pair], people) for counts in drawn)
        alarms += any(fact.alarm for fact in compare(ours, theirs, people.labels))
    return alarms


def _yes(counts: NDArray[np.int64], fact: str, column: NDArray[np.int64], labels: tuple[str, ...]) -> NDArray[np.int64]:
    """[pairs, questions], by the same questions as `compare` asks."""
    bins = np.arange(len(bins_of(fact, labels)))
    answers = column[:, None] < bins[None, 1:] if fact in EDGES else column[:, None] == bins[None, :]
    return counts @ answers.astype(np.int64)


def _counts(counts: NDArray[np.int64], people: Population) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for fact, column in people.columns.items():
        bins = bins_of(fact, people.labels)
        totals = np.bincount(column, counts, minlength=len(bins))
        found[fact] = {name: int(count) for name, count in zip(bins, totals, strict=True) if count}
    return found
