"""How well wrong labels are found:  python -m tools.bench.labels FOLDER FOLDER … [--seeds 40-49] [--few]

Each folder is a labelled set. Of its photos 5 % and 10 % get another label by chance. Printed is the share of them in
the first 2m places of the order, of m planted; the share listed as doubtful; how many others are listed; and the
share of the suggested labels that are right; means over the seeds, and the lowest of the first. With --few, the first
share for sets with so many photos of each label, and how many right photos of a label with so few are doubted.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salver.messages import show
from training.dataset.dataset import Dataset
from training.dataset.split.shares import together
from training.evaluation.limits.label_errors import Ranking
from training.fit.device import make_accelerator
from training.fit.features.vectors import extract
from training.nets.choice import BASES
from training.nets.nets import PixelNet, build_net, pixel_spec
from training.progress import Silent
from training.run.label_errors import rank

SHARES = (0.05, 0.10)
FEW = (5, 8, 10, 12, 15, 20, 25, 30)
FEW_SEEDS = 40


class Planted(NamedTuple):
    """What was found of the wrong labels among some photos."""

    first: float
    listed: float
    others: int
    suggested: float


class Bench:
    """One labelled set, by the features of one net."""

    def __init__(self, dataset: Dataset, base: str, weights: str) -> None:
        self._dataset = dataset
        self._right = dataset.targets(dataset.labels)
        self._groups = together(dataset.images, None)
        net = PixelNet(build_net(base, 2, weights))
        found = extract(net, dataset, pixel_spec(224), make_accelerator("cpu"), cache=None, progress=Silent())
        self._features = found.numpy()

    def planted(self, share: float, seed: int, each: int | None = None) -> Planted:
        """With `each`, of so many photos of each label only."""
        random = np.random.default_rng(seed)
        rows = np.arange(len(self._dataset))
        if each is not None:
            labels = range(len(self._dataset.labels))
            rows = np.sort(
                np.concatenate([random.permutation(np.flatnonzero(self._right == n))[:each] for n in labels])
            )
        wrong = random.choice(len(rows), max(1, round(share * len(rows))), replace=False)
        given = self._right[rows]
        given[wrong] += random.integers(1, len(self._dataset.labels), len(wrong))
        given %= len(self._dataset.labels)
        found = self._rank(rows, given)
        listed = np.isin(wrong, found.doubtful)
        return Planted(
            float(np.isin(wrong, found.order[: 2 * len(wrong)]).mean()),
            float(listed.mean()),
            len(found.doubtful) - int(listed.sum()),
            float((found.other[wrong] == self._right[rows][wrong])[listed].mean()) if listed.any() else float("nan"),
        )

    def doubted(self, few: int, seed: int) -> float:
        """Of a label with `few` photos, one of them a wrong one: the share of the right ones that is listed."""
        random = np.random.default_rng(seed)
        shares = []
        for label in range(len(self._dataset.labels)):
            mine = random.permutation(np.flatnonzero(self._right == label))[: few - 1]
            others = np.flatnonzero(self._right != label)
            rows = np.sort(np.concatenate([mine, others]))
            given = self._right[rows]
            given[rows == random.choice(others)] = label
            shares.append(np.isin(np.flatnonzero(np.isin(rows, mine)), self._rank(rows, given).doubtful).mean())
        return float(np.mean(shares))

    def _rank(self, rows: NDArray[np.int64], given: NDArray[np.int64]) -> Ranking:
        """Of some photos under other labels; the rule's least number of photos a label is left out of it."""
        labels = self._dataset.labels
        old = [self._dataset.images[row] for row in rows.tolist()]
        new = {image: replace(image, label=labels[number]) for image, number in zip(old, given.tolist(), strict=True)}
        groups = [[new[image] for image in group if image in new] for group in self._groups]
        dataset = replace(self._dataset, images=tuple(new.values()))
        return rank(dataset, [group for group in groups if group], self._features[rows])


def report(name: str, bench: Bench, seeds: Sequence[int]) -> None:
    """A line for each share."""
    for share in SHARES:
        found = [bench.planted(share, seed) for seed in seeds]
        first = [one.first for one in found]
        show(
            f"{name}, {share:.0%} planted: {mean(first):.3f} in the first 2m places (lowest {min(first):.3f}), "
            f"{mean(one.listed for one in found):.3f} listed with {mean(one.others for one in found):.1f} others, "
            f"{mean(one.suggested for one in found):.3f} of the listed with the right suggestion"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="labelled sets")
    parser.add_argument("--base", choices=BASES, default="mobilenet_v2")
    parser.add_argument("--weights", default="offline")
    parser.add_argument("--seeds", default="40-49", help="first and last, such as 40-49")
    parser.add_argument("--few", action="store_true", help="also with few photos of each label, and of one")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    for folder in arguments.folders:
        bench = Bench(Dataset.from_dir(folder), arguments.base, arguments.weights)
        report(folder.name, bench, seeds)
        for few in FEW if arguments.few else ():
            many = range(seeds[0], seeds[0] + FEW_SEEDS)
            shares = [bench.planted(SHARES[-1], seed, few).first for seed in many]
            doubted = mean(bench.doubted(few, seed) for seed in seeds)
            show(
                f"  {few} photos of each label, {SHARES[-1]:.0%} planted: {mean(shares):.3f} in the first 2m places; "
                f"{few} of one label alone: {doubted:.3f} of its right photos listed"
            )


if __name__ == "__main__":
    main()
