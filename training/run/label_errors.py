"""Photos whose label is doubtful: for `salver check --labels`, the log of `salver train`, and Python."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.text import counted, printable
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.dataset.inspection.files import inspect_files
from training.dataset.reading.doubtful import Doubtful, LabelErrors, LookAlike
from training.dataset.split.file import FILE_NAME as SPLIT
from training.dataset.split.folds import ALWAYS_LEARNT, assign
from training.dataset.split.shares import together
from training.errors import DatasetError, SettingError
from training.evaluation.limits.label_errors import FOLDS, LEAST_PHOTOS, MARGIN, ROUNDS, Ranking, out_of_fold
from training.evaluation.limits.look_alikes import look_alikes
from training.fit.device import Device, make_accelerator
from training.fit.features.vectors import extract
from training.nets.nets import PixelNet, build_net, pixel_spec
from training.progress import Progress, Silent
from training.run.classifier import Classifier
from training.run.settings import RunSettings

SIDE = 224
"""Of the pixels, as `salver train` has them unless told otherwise: the cache of the features is the same."""


class LabelJudge:
    """A net as it was loaded, whose features tell.

    Raises SettingError for an unknown base, a device that is not there, and the weights "none", which know nothing; and
    WeightsError for weights that cannot be had.
    """

    def __init__(
        self, base: str = "resnet18", weights: str = "imagenet", *, device: Device = "auto", cache: Path | None = None
    ) -> None:
        if weights == "none":
            raise SettingError("Random weights tell no label from another. Take --weights imagenet, offline or a file.")
        self._accelerator = make_accelerator(device)
        net = PixelNet(build_net(base, 2, weights))  # the last layer is not used
        self._net = net.to(self._accelerator.device)
        self._cache = cache

    def judge(
        self, data: Dataset | Path | str, *, split: Path | str | None = None, progress: Progress | None = None
    ) -> LabelErrors:
        """As `label_errors` does."""
        progress = progress or Silent()
        whole = data if isinstance(data, Dataset) else Dataset.from_dir(data)
        dataset, unreadable = _readable(whole, progress)
        parts = _parts(dataset, split, progress)
        features, groups = self._features(dataset, progress), together(dataset.images, None)
        found = _judged(dataset, features, f"{self._net.net.base}, {self._net.net.weights}", groups)
        named = tuple(replace(one, part=parts.get(one.name, "")) for one in found.doubtful)
        alike = _look_alikes(dataset, features, groups, parts)
        return replace(found, doubtful=named, unreadable=unreadable, look_alikes=alike)

    def _features(self, dataset: Dataset, progress: Progress) -> NDArray[np.float32]:
        """[photos, width]"""
        spec = pixel_spec(SIDE)
        found = extract(self._net, dataset, spec, self._accelerator, cache=self._cache, progress=progress)
        return np.asarray(found.numpy(), np.float32)


def label_errors(
    data: Dataset | Path | str,
    base: str = "resnet18",
    weights: str = "imagenet",
    *,
    split: Path | str | None = None,
    device: Device = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> LabelErrors:
    """Photos of `data`, a data set or its folder, whose label the others contradict, by the features of a net.

    Each photo's label is given a probability by what photos teach that are no copies of it; docs/data.md has what that
    finds and what it cannot tell. Photos that cannot be read are left out. `split` is a file from `salver split`, which
    tells the photos' parts; without it the folders do, or the split.csv beside the photos. Features are kept in the
    user's cache folder, or the file `cache`. Nothing is written among the photos.

    Raises DatasetError for a folder that cannot be read, fewer than two labels, and a split file that is not of these
    photos; SettingError and WeightsError as `LabelJudge` does.
    """
    return LabelJudge(base, weights, device=device, cache=cache).judge(data, split=split, progress=progress)


def doubt(settings: RunSettings, classifier: Classifier, train: Dataset, progress: Progress) -> None:
    """Say how many training photos have a doubtful label, where the fit needed the features of the net as it was."""
    features = None if settings.weights == "none" else classifier.start_features
    if features is None or not classifier.is_main_process:
        return
    found = _judged(train, features.numpy(), "", together(train.images, None))
    if not found.judged:
        progress.report(f"whether labels are doubtful cannot be told: none has {found.least} different training photos")
        return
    words = ["salver", "check", str(settings.data), "--labels", "--base", settings.base, "--weights", settings.weights]
    have = "has" if len(found.doubtful) == 1 else "have"
    progress.report(
        f"{len(found.doubtful)} of {counted(found.judged, 'training photo')} {have} a doubtful label"
        + (f"; list them with: {printable(shlex.join(words))}" if found.doubtful else "")
    )


def _look_alikes(
    dataset: Dataset,
    features: NDArray[np.float32],
    groups: Sequence[Sequence[LabelledImage]],
    parts: Mapping[str, str],
) -> tuple[LookAlike, ...]:
    """By features [photos, width]: of photos that belong together anyway, the first stands for all."""
    places = {image: place for place, image in enumerate(dataset.images)}
    firsts = [group[0] for group in groups]
    found = look_alikes(features[[places[image] for image in firsts]])
    return tuple(
        LookAlike((one, other), pair.cosine, (parts.get(one, ""), parts.get(other, "")))
        for pair in found
        for one, other in [(firsts[pair.one].name, firsts[pair.other].name)]
    )


def _judged(
    dataset: Dataset, features: NDArray[np.float32], net: str, groups: Sequence[Sequence[LabelledImage]]
) -> LabelErrors:
    """By features [photos, width], of which `groups` belong together; without the photos' parts."""
    ranking = rank(dataset, groups, features)
    apart = Counter(label for group in groups for label in {image.label for image in group})
    too_few = {label: apart[label] for label in dataset.labels if apart[label] < LEAST_PHOTOS}
    enough = np.array([image.label not in too_few for image in dataset.images])
    return LabelErrors(
        doubtful=tuple(
            Doubtful(
                dataset.images[place].name,
                dataset.images[place].label,
                dataset.labels[ranking.other[place]],
                float(ranking.given[place]),
            )
            for place in ranking.doubtful.tolist()
            if enough[place]
        ),
        net=net,
        judged=int((np.isfinite(ranking.given) & enough).sum()),
        too_few=too_few,
        least=LEAST_PHOTOS,
        margin=MARGIN,
        never_judged=tuple(dataset.images[place].name for place in np.flatnonzero(np.isnan(ranking.given)).tolist()),
    )


def rank(dataset: Dataset, groups: Sequence[Sequence[LabelledImage]], features: NDArray[np.float32]) -> Ranking:
    """Of features [photos, width] of the data set's photos; `groups` are those that belong together."""
    folds = []
    for seed in range(ROUNDS):
        fold = assign(groups, dataset.labels, FOLDS, seed)
        folds.append([fold.get(image, ALWAYS_LEARNT) for image in dataset.images])
    targets = dataset.targets(dataset.labels)
    return Ranking.of(out_of_fold(features, targets, np.array(folds), len(dataset.labels)), targets)


def _readable(dataset: Dataset, progress: Progress) -> tuple[Dataset, tuple[str, ...]]:
    """With the labels that have any, and the names of the others. Raises DatasetError for fewer than two labels."""
    inspections = inspect_files([image.path for image in dataset.images], progress)
    pairs = list(zip(dataset.images, inspections, strict=True))
    images = tuple(image for image, found in pairs if not found.problem)
    there = {image.label for image in images}
    labels = tuple(label for label in dataset.labels if label in there)
    if len(labels) < 2:
        raise DatasetError(
            f"{counted(len(labels), 'label')} with photos that can be read, and it takes two to tell one from another. "
            "Add photos of another label, or mend those that cannot be read."
        )
    return replace(dataset, images=images, labels=labels), tuple(image.name for image, found in pairs if found.problem)


def _parts(dataset: Dataset, split: Path | str | None, progress: Progress) -> dict[str, str]:
    """By name: of the file that was named; else the folders'; else of the split.csv beside the photos."""
    given = {image.name: str(image.part) for image in dataset.images if image.part}
    if split is None and (given or dataset.root is None or not (dataset.root / SPLIT).exists()):
        return given
    try:
        placed = dataset.read_split(split or Path(dataset.root or "") / SPLIT)
    except DatasetError as error:
        if split is not None:
            raise
        progress.report(f"the photos' parts are not told: {printable(str(error))}")
        return {}
    return {image.name: part for part, found in placed.items() for image in found.images}
