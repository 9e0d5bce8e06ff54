"""Groups that change sides, so that each label comes nearer to the number of images that it is to have in a part."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Kind = tuple[tuple[str, int], ...]
"""What groups have in common that can stand in for one another: how many images of which labels."""
MOST_SWAPS = 4_000_000
"""Pairs of kinds times columns that are looked at for a step; with more of them single groups change sides only."""

MOST_WORK = 2_000_000_000
"""Numbers that all steps together look at, which takes some ten seconds: 1,000 labels of which each group has many."""
FEW = 3
"""Images off the share over all labels: below, the order of choice is kept, and with it what earlier versions gave."""


def kind_of(labels: Iterable[str]) -> Kind:
    """Of a group whose images have these labels."""
    return tuple(sorted(Counter(labels).items()))


@dataclass(frozen=True)
class Sides:
    """What two parts of some groups are to have.

    `images` [kinds, columns] are the images of a group, `groups` [kinds] says how many groups there are, `wanted`
    [columns] the images for the first part, and `members` [kinds, labels] which labels a group has; the first part
    needs `least_first` groups of each label, the second `least_second`.
    """

    images: NDArray[np.int64]
    groups: NDArray[np.int64]
    wanted: NDArray[np.float64]
    members: NDArray[np.int64]
    least_first: int
    least_second: int

    def evened(self, inside: NDArray[np.int64]) -> NDArray[np.int64]:
        """Groups of the first part [kinds], from such a choice: while that helps, a group changes sides or two change
        places. What a part lacks altogether goes before the numbers of images.
        """
        rows = np.hstack([self.images, self.members])
        rows = np.vstack([rows, np.zeros_like(rows[:1])])  # the last stands for no group
        sums = inside @ rows[:-1]
        now, work = self._faults(sums[None])[0], 0
        while now >= FEW and work < MOST_WORK:
            come, go = self._steps(inside)
            work += len(come) * rows.shape[1]
            faults = self._faults(sums + rows[come] - rows[go])
            best = int(faults.argmin())
            if faults[best] > now - 0.5:
                break
            now, sums = faults[best], sums + rows[come[best]] - rows[go[best]]
            moved = np.zeros(len(rows), np.int64)
            moved[come[best]] += 1
            moved[go[best]] -= 1
            inside = inside + moved[:-1]
        return inside

    def _faults(self, sums: NDArray[np.int64]) -> NDArray[np.float64]:
        """[choices], of sums of rows [choices, columns]: images too many or too few. One missing group is worse."""
        columns = len(self.wanted)
        there = sums[:, columns:]
        elsewhere = self.groups @ self.members - there
        lacking = np.maximum(self.least_first - there, 0) + np.maximum(self.least_second - elsewhere, 0)
        off = np.abs(sums[:, :columns] - self.wanted).sum(axis=1)
        return np.asarray(off + lacking.sum(axis=1) * (2.0 * (self.groups @ self.images).sum() + 1), np.float64)

    def _steps(self, inside: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The kinds of which a group comes in, and those of which one goes out, [steps] each."""
        none = len(self.groups)
        come, go = np.flatnonzero(inside < self.groups), np.flatnonzero(inside > 0)
        alone = [(come, np.full(len(come), none)), (np.full(len(go), none), go)]
        if len(come) * len(go) * (self.images.shape[1] + self.members.shape[1]) <= MOST_SWAPS:
            alone.append((np.repeat(come, len(go)), np.tile(go, len(come))))
        return np.concatenate([one for one, _ in alone]), np.concatenate([other for _, other in alone])


def evened(
    kinds: Sequence[Kind],
    first: Sequence[bool],
    shares: Sequence[float],
    *,
    stratify: bool,
    least_first: int,
    least_second: int,
) -> list[bool]:
    """Which groups, in the order of choice, are the first part's, from those that were chosen `first`.

    `shares` are those that the first part is to have of each group's images: of each label's with `stratify`, else of
    all. Of groups of a kind those in front come in first, and go out last. As it was where the numbers are right.
    """
    queues: dict[Kind, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        queues[kind].append(place)
    labels = sorted({label for kind in queues for label, _ in kind})
    table = np.array([[dict(kind).get(label, 0) for label in labels] for kind in queues], dtype=np.int64)
    images = table if stratify else table.sum(axis=1, keepdims=True)
    share = np.array([sum(shares[place] for place in queue) for queue in queues.values()])
    sizes = np.array([len(queue) for queue in queues.values()], dtype=np.int64)
    sides = Sides(images, sizes, share @ images, (table > 0).astype(np.int64), least_first, least_second)
    before = np.array([sum(first[place] for place in queue) for queue in queues.values()], dtype=np.int64)
    found = list(first)
    for queue, more in zip(queues.values(), (sides.evened(before) - before).tolist(), strict=True):
        movable = [place for place in queue if found[place] == (more < 0)]
        for place in movable[:more] if more > 0 else movable[len(movable) + more :]:
            found[place] = more > 0
    return found
