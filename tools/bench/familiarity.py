"""What familiarity tells apart:  python -m tools.bench.familiarity FOLDER FOLDER … [--seeds 40-54] [--fine-tuned]

Each folder is a labelled set. On each the threshold is set by its training part, and its test part and the other sets
are asked. Printed are the share of the own test photos that is called foreign, pooled over the seeds with its interval,
the share of each other set that is, and of each label that was left out of training.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from salver.messages import show
from training.dataset.dataset import Dataset
from training.evaluation.intervals import proportion
from training.fit.device import make_accelerator
from training.fit.features.familiarity import Fitted, fit_familiarity, judged_photos
from training.fit.loop import infer
from training.fit.minibatches import Minibatches
from training.nets.choice import BASES
from training.progress import Silent
from training.run.classifier import Classifier

MAX_FALSE_ALARMS = 0.05


class Bench:
    """Of several sets, by one net."""

    def __init__(self, sets: Sequence[Dataset], base: str, weights: str, *, fine_tuned: bool) -> None:
        self._sets = sets
        self._base, self._weights, self._fine_tuned = base, weights, fine_tuned
        self._as_loaded: list[Tensor] = []

    def run(self, own: int, seed: int, without: str | None = None) -> tuple[list[bool], dict[int, float], float]:
        """Of the own test photos which are foreign; of each other set the share; of the label left out the share."""
        whole = self._sets[own]
        dataset = Dataset(tuple(image for image in whole.images if image.label != without), _without(whole, without))
        train, validation, test = dataset.split_as_given(0.1, 0.33, seed=seed)
        features = self._features(train, validation, seed)
        index = {image.name: place for place, image in enumerate(whole.images)}
        photos, numbers = judged_photos(train)
        fitted = fit_familiarity(features[own][[index[image.name] for image in photos.images]], numbers, seed)
        assert fitted is not None
        left_out = [place for place, image in enumerate(whole.images) if image.label == without]
        others = {place: _share(fitted, found) for place, found in enumerate(features) if place != own}
        tested = features[own][[index[image.name] for image in test.images]]
        return _foreign(fitted, tested), others, _share(fitted, features[own][left_out]) if left_out else float("nan")

    def _features(self, train: Dataset, validation: Dataset, seed: int) -> list[Tensor]:
        """[photos, width] of every set."""
        if self._as_loaded:
            return self._as_loaded
        net = Classifier(self._base, train.labels, weights=self._weights, seed=seed, resize="crop", device="cpu")
        if self._fine_tuned:
            net.fit(train, validation, seed=seed)
        images = [Minibatches(dataset, dataset.labels, net.pixels) for dataset in self._sets]
        found = [infer(net.net.eval().features, each, make_accelerator("cpu"), Silent()) for each in images]
        if not self._fine_tuned:
            self._as_loaded = found
        return found


def _without(dataset: Dataset, label: str | None) -> tuple[str, ...]:
    return tuple(each for each in dataset.labels if each != label)


def _foreign(fitted: Fitted, features: Tensor) -> list[bool]:
    threshold = fitted.judged(MAX_FALSE_ALARMS).threshold
    with torch.inference_mode():
        return [not value >= threshold for value in fitted.plane(features).tolist()]


def _share(fitted: Fitted, features: Tensor) -> float:
    return mean(_foreign(fitted, features))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="labelled sets, two at least")
    parser.add_argument("--base", choices=BASES, default="mobilenet_v2")
    parser.add_argument("--weights", default="offline")
    parser.add_argument("--seeds", default="40-54", help="first and last, such as 40-54")
    parser.add_argument("--fine-tuned", action="store_true", help="by the default recipe, once a set and seed")
    parser.add_argument("--left-out", action="store_true", help="also each label left out of training, first seed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    sets = [Dataset.from_dir(folder) for folder in arguments.folders]
    names = [folder.name for folder in arguments.folders]
    bench = Bench(sets, arguments.base, arguments.weights, fine_tuned=arguments.fine_tuned)
    pairs: dict[tuple[int, int], list[float]] = defaultdict(list)
    for own, dataset in enumerate(sets):
        alarms: list[bool] = []
        for seed in seeds:
            tested, others, _ = bench.run(own, seed)
            alarms += tested
            for other, share in others.items():
                pairs[own, other].append(share)
        rate = proportion(sum(alarms), len(alarms), "no photo")
        shown = ", ".join(
            f"{names[other]} {mean(shares):.3f} (worst {min(shares):.3f})"
            for (mine, other), shares in pairs.items()
            if mine == own
        )
        interval = f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})"
        show(f"{names[own]}: own test photos called foreign {interval}, {shown}")
        if arguments.left_out:
            left = {label: bench.run(own, seeds[0], without=label)[2] for label in dataset.labels}
            show(f"  labels left out: {', '.join(f'{label} {share:.2f}' for label, share in left.items())}")
    show(f"mean of the {len(pairs)} pairs {mean(mean(shares) for shares in pairs.values()):.4f}")


if __name__ == "__main__":
    main()
