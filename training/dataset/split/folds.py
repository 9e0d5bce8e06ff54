"""Folds: each photo is judged once, by what was learnt from the others."""

from collections import Counter
from collections.abc import Sequence

from training.dataset.image import LabelledImage
from training.dataset.split.shares import Group, ranked

ALWAYS_LEARNT = -1
"""In place of a fold's number: all photos of a label belong together, so none can be judged by what the rest teach."""


def assign(
    groups: Sequence[Sequence[LabelledImage]], labels: Sequence[str], count: int, seed: int
) -> dict[LabelledImage, int]:
    """The fold of each image, from 0, or ALWAYS_LEARNT: at most `count` folds of about one size and the same labels.

    What belongs together lies in one fold, and every label is in what each fold leaves to learn from. Where there are
    fewer groups than `count`, there are as many folds as groups. The same seed and contents give the same folds.
    """
    order = ranked(groups, labels, seed)
    lone = {
        label for label, number in Counter(label for group in order for label in group.labels).items() if number < 2
    }
    judged = [group for group in order if lone.isdisjoint(group.labels)]
    found = {image: ALWAYS_LEARNT for group in order for image in group.images}
    folds = [Counter[str]() for _ in range(min(count, len(judged)))]
    if len(folds) < 2:
        return found
    images = Counter(image.label for group in judged for image in group.images)
    # Rare labels first and large groups before small ones: what comes last evens out what came before.
    for group in sorted(judged, key=lambda group: (min(images[label] for label in group.labels), -len(group.images))):
        number = min(range(len(folds)), key=lambda number: _fullness(folds[number], group))
        folds[number].update(image.label for image in group.images)
        found |= dict.fromkeys(group.images, number)
    return found


def _fullness(fold: Counter[str], group: Group) -> tuple[int, int]:
    return sum(fold[label] for label in group.labels), fold.total()
