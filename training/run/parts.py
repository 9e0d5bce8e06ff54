"""The three parts of a data set that a run works with, and how it comes by them."""

from collections.abc import Iterator
from dataclasses import dataclass

from salver.artifact.manifest import MAX_FINGERPRINTS, Fingerprints
from salver.text import counted
from training.dataset.dataset import Dataset, check_trainable
from training.dataset.image import LabelledImage
from training.dataset.inspection.duplicates import joined
from training.dataset.reading.layout import Part
from training.dataset.split.asked import off_the_share
from training.dataset.split.fingerprints import take_fingerprints
from training.dataset.split.groups import groups_by
from training.dataset.split.shares import copies
from training.errors import SettingError
from training.run.settings import RunSettings

SHOWN = 3
"""Cases of a line."""


@dataclass(frozen=True)
class Parts:
    """Validation, where there is one, is watched; test is looked at once, at the end.

    Raises DatasetError for a part without images, and a label without images to train on.
    """

    train: Dataset
    validation: Dataset | None
    test: Dataset

    def __post_init__(self) -> None:
        check_trainable(self.train, self.train.labels, self.validation, self.test)

    @property
    def unseen(self) -> Dataset:
        """Validation and test together: what the net was not trained on."""
        return Dataset(tuple(image for part in self._others.values() for image in part.images), self.train.labels)

    @property
    def _others(self) -> dict[Part, Dataset]:
        """By name, in this order."""
        found: dict[Part, Dataset] = {"validation": self.validation} if self.validation else {}
        return found | {"test": self.test}

    @property
    def _all(self) -> dict[Part, Dataset]:
        found: dict[Part, Dataset] = {"train": self.train}
        return found | self._others

    def fingerprints(self) -> Fingerprints:
        """Of all their photos, as the run's record keeps them."""
        return take_fingerprints({name: part.images for name, part in self._all.items()})

    def fingerprints_for_file(self) -> tuple[Fingerprints | None, str]:
        """Those that the model file keeps, or None with the reason."""
        found = self.fingerprints()
        if found.photos <= MAX_FINGERPRINTS:
            return found, ""
        return None, (
            f"the model file keeps no fingerprints of its {found.photos:,} photos, since the most is "
            f"{MAX_FINGERPRINTS:,}: run.json alone has them"
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """For each part the number of images of each label."""
        return {name: part.counts() for name, part in self._all.items()}

    def sizes(self) -> dict[Part, int]:
        """The number of images of each part."""
        return {name: len(part) for name, part in self._all.items()}

    def remarks(self) -> list[str]:
        """What there is to say of them: labels that a part lacks, and pictures that two parts have."""
        lines = []
        for name, part in self._others.items():
            absent = [f"'{label}'" for label, count in part.counts().items() if not count]
            if absent:
                lines.append(f"the {name} part has no images of {', '.join(absent)}")
        return [*lines, *self._leaks(), *self._look_alikes()]

    def _leaks(self) -> Iterator[str]:
        learned = {image.sha256: image for image in self.train.images}
        pairs = [
            (image, learned[image.sha256])
            for part in self._others.values()
            for image in part.images
            if image.sha256 in learned
        ]
        yield from self._told_apart(pairs, "among the training images, too", "is")

    def _look_alikes(self) -> Iterator[str]:
        """What was made of a photo counts as that photo, and is left out."""
        images = [image for part in self._all.values() for image in part.images if not image.source]
        learned = {image for image in self.train.images if not image.source}
        digests = {image.sha256 for image in learned}
        leaks, clashes = [], []
        for group in joined(len(images), copies(images)):
            ours = [images[place] for place in group if images[place] in learned]
            labels: dict[str, LabelledImage] = {}
            for image in ours:
                labels.setdefault(image.label, image)
            clashes += [tuple(labels.values())[:2]] if len(labels) > 1 else []
            theirs = [images[place] for place in group if images[place] not in learned]
            leaks += [
                (image, labels.get(image.label, ours[0])) for image in theirs if ours and image.sha256 not in digests
            ]
        yield from self._told_apart(leaks, "like training images", "looks like")
        if clashes:
            shown = ", ".join(f"{one.name} and {other.name}" for one, other in clashes[:SHOWN])
            where = f": salver annotate {self.train.root}" if self.train.root else ""
            yield (
                f"{counted(len(clashes), 'picture')} of the training part {'has' if len(clashes) == 1 else 'have'} "
                f"two labels, in files that are identical or look the same, and all of them are learnt: {shown}"
                f"{', …' if len(clashes) > SHOWN else ''}. Give each the right label, or flag it{where}"
            )

    def _told_apart(self, pairs: list[tuple[LabelledImage, LabelledImage]], are: str, looks: str) -> Iterator[str]:
        """A line on those of equal labels and one on the others."""
        kinds = {
            "so the figures are too good": [(ours, theirs) for ours, theirs in pairs if ours.label == theirs.label],
            "under another label, of which one is wrong": [
                (ours, theirs) for ours, theirs in pairs if ours.label != theirs.label
            ],
        }
        others = " and ".join(self._others)
        for what, found in kinds.items():
            if found:
                shown = ", ".join(f"{ours.name} {looks} {theirs.name}" for ours, theirs in found[:SHOWN])
                yield (
                    f"{counted(len(found), 'image')} of {others} {'is' if len(found) == 1 else 'are'} {are}, {what}: "
                    f"{shown}{', …' if len(found) > SHOWN else ''}"
                )


def groups_of(data: Dataset, settings: RunSettings) -> dict[str, str] | None:
    """The group of each photo that has one, by name, where --group-by was given. Raises SettingError when none has."""
    return None if settings.group_by is None else groups_by(settings.group_by, (image.name for image in data.images))


def split(data: Dataset, settings: RunSettings, val_size: float | None = None) -> Parts:
    """As the split file says, as the folders are, or by shares. `val_size` is taken where the settings leave it to the
    run; where it is 0, and neither file nor folders have a validation part, there is none.

    Raises SettingError, and DatasetError when a label has nothing to train on or a part no images.
    """
    if settings.split_file is not None:
        parts = data.read_split(settings.split_file)
        if empty := [part for part in ("train", "test") if part not in parts]:
            raise SettingError(f"{settings.split_file} has no images for the part {' and '.join(empty)}. Split again.")
        return Parts(parts["train"], parts.get("validation"), parts["test"])
    groups = groups_of(data, settings)
    share = (val_size or 0.0) if settings.val_size is None else settings.val_size
    train, validation, test = data.split_as_given(share, settings.test_size, seed=settings.seed, groups=groups)
    return Parts(train, validation if len(validation) else None, test)


def off_the_shares(data: Dataset, parts: Parts, settings: RunSettings, val_size: float) -> list[str]:
    """Lines on parts of `split` that are more than a few photos off; none where a file says what is in which part."""
    if settings.split_file is not None:
        return []
    return off_the_share(parts.sizes(), {"validation": val_size, "test": settings.test_size}, data.parts())
