"""Training and testing by folds: each photo is scored by a net that did not learn it.

What is tested is a way to train, and no one net. Each fold begins with the same start weights and the same seed, knows
nothing of the folds before it, and makes every choice that `salver train` makes (resize, temperature, whether to
fine-tune at all) on what it learns: no figure is one that something was chosen on.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salver.text import counted
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.dataset.split.folds import ALWAYS_LEARNT
from training.dataset.split.shares import Grouping
from training.errors import DatasetError
from training.evaluation.evaluate import Evaluation
from training.evaluation.intervals import proportion
from training.evaluation.schema import ByFolds, Fold
from training.fit.device import Device
from training.fit.heads.linear import Kind
from training.fit.recipe.recipe import ClassWeights, Recipe, check_weights
from training.nets.choice import check_base
from training.nets.nets import Resize
from training.progress import Progress, Silent
from training.ranges import OUTER_FOLDS, SEED
from training.run.classifier import Classifier


@dataclass(frozen=True)
class Way:
    """How each fold's net is trained, in the words of `salver train`; `cache` is a file, or the user's own."""

    base: str = "resnet18"
    weights: str = "imagenet"
    head: Literal["softmax"] | Kind = "softmax"
    recipe: Recipe | None = None
    image_size: int | tuple[int, int] = 224
    resize: Resize | Literal["auto"] = "auto"
    class_weights: ClassWeights = "auto"
    seed: int = 0
    groups: Grouping | None = None
    device: Device = "auto"
    cache: Path | None = None

    def __post_init__(self) -> None:
        """Raises SettingError and WeightsError for what cannot be meant."""
        check_base(self.base, self.weights)
        check_weights(self.class_weights)
        SEED.check(self.seed)

    def trained(self, learnt: Dataset, progress: Progress) -> Classifier:
        """From the start weights, whatever was trained before."""
        net = Classifier(
            self.base,
            learnt.labels,
            self.image_size,
            self.weights,
            seed=self.seed,
            resize=self.resize,
            device=self.device,
            cache=self.cache,
        )
        weights, seed, groups = self.class_weights, self.seed, self.groups
        if self.head == "softmax":
            net.fit(learnt, recipe=self.recipe, class_weights=weights, seed=seed, groups=groups, progress=progress)
        else:
            net.fit_head(learnt, kind=self.head, class_weights=weights, seed=seed, groups=groups, progress=progress)
        return net


class Tested(NamedTuple):
    """What a fold's net answers for the photos that it did not learn: logits over its temperature [photos, classes]."""

    logits: NDArray[np.float32]
    fold: Fold
    weighted: bool


def evaluate_by_folds(
    data: Dataset | Path | str,
    folds: int = 5,
    base: str = "resnet18",
    weights: str = "imagenet",
    *,
    head: Literal["softmax"] | Kind = "softmax",
    recipe: Recipe | None = None,
    image_size: int | tuple[int, int] = 224,
    resize: Resize | Literal["auto"] = "auto",
    class_weights: ClassWeights = "auto",
    seed: int = 0,
    groups: Grouping | None = None,
    device: Device = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """How good nets are that are trained in this way on the photos of `data`, a data set or its folder: trained
    `folds` times on all but one of as many parts, and tested on that one, so that each photo is tested once.

    Parts have about one size and the same labels, and what belongs together, by content or by `groups`, lies in one.
    A photo whose label has no other is learnt each time and never tested. The evaluation's logits are divided by the
    temperature of each photo's own net; its `by_folds` has what each fold came to. Features of the start weights are
    kept in the user's cache folder or the file `cache`, and computed once. Nothing else is written.

    Raises DatasetError for photos that cannot be read or not be told apart into two parts, and for fewer photos than
    folds; SettingError and WeightsError as `Classifier` does.
    """
    way = Way(base, weights, head, recipe, image_size, resize, class_weights, seed, groups, device, cache)
    progress = progress or Silent()
    dataset = data if isinstance(data, Dataset) else Dataset.from_dir(data)
    check_weights(class_weights, dataset.labels)
    numbers = outer_folds(dataset, folds, way)
    lone = tuple(compress(dataset.images, numbers == ALWAYS_LEARNT))
    count = int(numbers.max()) + 1
    for line in _remarks(folds, count, lone):
        progress.report(line)
    truths = dataset.targets(dataset.labels)
    logits = np.full((len(dataset), len(dataset.labels)), np.nan, np.float32)
    found = []
    for number in range(count):
        tested = judge_fold(dataset, numbers, number, way, progress)
        logits[numbers == number] = tested.logits
        found.append(tested)
        progress.report(f"fold {number + 1} of {count}: {_told(tested.fold)}")
    judged = numbers != ALWAYS_LEARNT
    facts = ByFolds(
        base=base,
        weights=weights,
        head=head,
        seed=seed,
        asked=folds,
        folds=tuple(tested.fold for tested in found),
        always_learnt=tuple(image.name for image in lone),
        weighted=any(tested.weighted for tested in found),
    )
    images = tuple(compress(dataset.images, judged))
    return Evaluation(dataset.labels, logits[judged], truths[judged], images, folds=count, by_folds=facts)


def outer_folds(dataset: Dataset, folds: int, way: Way) -> NDArray[np.int64]:
    """[photos], as `Dataset.folds`; there are two at least. Raises DatasetError and SettingError."""
    OUTER_FOLDS.check(folds)
    if len(dataset) < folds:
        raise DatasetError(
            f"{folds} folds need as many photos, and there {'is' if len(dataset) == 1 else 'are'} "
            f"{counted(len(dataset), 'photo')}. Take fewer folds, or add photos."
        )
    numbers = dataset.folds(folds, seed=way.seed, groups=way.groups)
    if numbers.max() < 1:
        raise DatasetError(
            "No photo can be tested by the others: each label has one alone, or all of its photos are alike or belong "
            "together. Add photos that are apart from them."
        )
    return numbers


def judge_fold(dataset: Dataset, numbers: NDArray[np.int64], number: int, way: Way, progress: Progress) -> Tested:
    """One fold, by its own number and what the others hold alone."""
    held = numbers == number
    learnt, asked = _part(dataset, ~held), _part(dataset, held)
    within = _Within(progress, f"fold {number + 1} of {int(numbers.max()) + 1}")
    net = way.trained(learnt, within)
    temperature = net.temperature()
    logits = net.score(asked, within)
    right = int((logits.argmax(axis=1) == asked.targets(dataset.labels)).sum())
    fold = Fold(
        images=len(asked),
        accuracy=proportion(right, len(asked), ""),
        temperature=temperature.value,
        resize=net.pixels.resize,
        reason=temperature.reason or None,
    )
    return Tested((logits / temperature.value).astype(np.float32), fold, net.weighted)


def _part(dataset: Dataset, chosen: NDArray[np.bool_]) -> Dataset:
    return Dataset(tuple(compress(dataset.images, chosen)), dataset.labels, root=dataset.root)


def _told(fold: Fold) -> str:
    accuracy = fold.accuracy
    calibrated = fold.reason or f"temperature {fold.temperature:.3f}"
    return (
        f"{counted(fold.images, 'photo')}, accuracy {accuracy.value:.4f} ({accuracy.low:.4f} to {accuracy.high:.4f}), "
        f"{fold.resize}, {calibrated}"
    )


def _remarks(asked: int, count: int, lone: tuple[LabelledImage, ...]) -> list[str]:
    lines = []
    if count < asked:
        lines.append(
            f"{count} folds in place of {asked}: only so many photos, or groups of photos that belong together, are "
            "apart from one another"
        )
    if lone:
        found = ", ".join(f"'{label}' ({number})" for label, number in Counter(image.label for image in lone).items())
        lines.append(
            f"always learnt and never tested, as all photos of their label are one or belong together: {found}"
        )
    return lines


@dataclass(frozen=True)
class _Within:
    """Of a fold's progress the bars alone, under its name: what it chose is told in a line at its end."""

    progress: Progress
    name: str

    def begin(self, stage: str, total: int) -> None:
        """A stage of the fold."""
        self.progress.begin(f"{self.name}, {stage}", total)

    def advance(self, images: int, note: str = "") -> None:
        """So many images more."""
        self.progress.advance(images, note)

    def report(self, line: str) -> None:
        """Left out."""
