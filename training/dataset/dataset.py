"""A data set: labelled images, read from a folder or a table, and split into parts."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from salver.text import counted, printable
from training.dataset.annotate.store import AnnotationStore, Change
from training.dataset.collection import LeftOut, collect, listed, some
from training.dataset.image import LabelledImage
from training.dataset.reading.annotations import Annotation, Flag, read_annotations
from training.dataset.reading.layout import PARTS, Part
from training.dataset.split.file import read_parts, write_parts
from training.dataset.split.folds import assign
from training.dataset.split.shares import Group, Grouping, choose, ranked, together
from training.errors import DatasetError
from training.ranges import SEED, check_shares

Item = TypeVar("Item")

__all__ = ["Dataset", "LabelledImage", "Part"]


@dataclass(frozen=True)
class Dataset:
    """Labelled images; every label, in class order; what was left out, and what the folder held that is no image.

    Class order is the natural order ("2" before "10") of the labels in Unicode form NFC.
    """

    images: tuple[LabelledImage, ...]
    labels: tuple[str, ...]
    ignored: tuple[Path, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    part: Part | None = None
    root: Path | None = None
    """The folder that it was read from, in which nothing is to be written; None for a table's."""

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def from_dir(cls, root: Path | str) -> Self:
        """Read a folder: each first-level folder is a label, and the images below it, at any depth, are its images.

        Where the first-level folders are parts of a split (train, val, test, each with the label folders), the labels
        are those below, and `parts` and `split_as_given` have the parts. Labels are in Unicode form NFC, images in the
        order of their names. An image is told by its content, or by its ending when that is an image's. Links are
        followed; a folder counts once for a label, so loops end. Where there is an `annotations.csv`, its labels go
        before those of the folders, and images that it flags are in `left_out`; so are those in `quarantine.csv`.
        Whatever else lies there is in `ignored`.

        Raises DatasetError for a folder that cannot be read, fewer than two labels, a label without images, two
        folders of the same name in NFC, labels that a person takes for one, folders that can be neither labels nor
        parts, and a folder name that is not UTF-8.
        """
        root = Path(root)
        found = collect(root)
        labels = found.labels()
        ignored = sorted([*found.ignored, *(image.path for image in found.unlabelled)])
        return cls(found.images, labels, tuple(ignored), found.left_out, found.all_notes(), root=root)

    @classmethod
    def from_csv(cls, table: Path | str) -> Self:
        """Read a table with the columns `path` and `label`; paths are relative to the table's own folder.

        Raises DatasetError for a table that cannot be read, a row without label or with one that no model file takes, a
        path that stands in two rows, and fewer than two labels.
        """
        images, labels = listed(Path(table))
        return cls(images, labels)

    def counts(self) -> dict[str, int]:
        """The number of images of each label, in class order."""
        found = Counter(image.label for image in self.images)
        return {label: found[label] for label in self.labels}

    def targets(self, labels: Sequence[str], whose: str = "The classifier") -> NDArray[np.int64]:
        """[images], indices into `labels`. Raises DatasetError, which says `whose` they are, for an image with another
        label.
        """
        indices = {label: index for index, label in enumerate(labels)}
        for image in self.images:
            if image.label not in indices:
                raise DatasetError(
                    f"{image.path} has the label '{image.label}'. {whose} does not have it: its labels are "
                    f"{', '.join(labels)}. Give these photos one of them, or leave them out."
                )
        return np.array([indices[image.label] for image in self.images], dtype=np.int64)

    def fingerprint(self) -> str:
        """sha256 over the sorted pairs of label and content digest: file names and places play no part."""
        pairs = sorted((image.label, image.sha256) for image in self.images)
        return hashlib.sha256("".join(f"{label}\0{digest}\n" for label, digest in pairs).encode()).hexdigest()

    def digests(self) -> dict[str, tuple[str, str]]:
        """Label and content digest (16 of its 64 digits) of each image by its name."""
        return {image.name: (image.label, image.sha256[:16]) for image in self.images}

    def summary(self) -> str:
        """A few lines to print: images, labels, file sizes, the count of each label, and what is not used."""
        sizes = sorted(image.size_bytes for image in self.images)
        lines = [f"{counted(len(self), 'image')}, {counted(len(self.labels), 'label')}"]
        lines += [f"  {label}: {count}" for label, count in self.counts().items()]
        if sizes:
            lines.append(f"{sum(sizes) / 1e6:.1f} MB in files of {sizes[0] / 1e3:.1f} to {sizes[-1] / 1e3:.1f} kB")
        if self.left_out:
            reasons = Counter(left_out.reason for left_out in self.left_out)
            causes = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            lines.append(f"used {len(self)} of {len(self) + len(self.left_out)}, {causes}")
        if self.ignored:
            lines.append(f"{len(self.ignored)} ignored: {some(self.ignored)}")
        return "\n".join([*lines, *self.notes])

    def without(self, names: Iterable[str], reason: str) -> Self:
        """The same without some images, which are then in `left_out`.

        Raises DatasetError when a label has none left.
        """
        gone = set(names)
        left_out = [LeftOut(image, reason) for image in self.images if image.name in gone]
        rest = replace(
            self,
            images=tuple(image for image in self.images if image.name not in gone),
            left_out=(*self.left_out, *left_out),
        )
        empty = [label for label, count in rest.counts().items() if not count]
        if empty:
            raise DatasetError(
                f"The label '{empty[0]}' has no images left: all of them are {reason}. Add images to it."
            )
        return rest

    def some(self, most: int) -> Self:
        """At most so many of the images, taken evenly."""
        return self if len(self) <= most else replace(self, images=tuple(evenly(self.images, most)))

    def parts(self) -> "dict[Part, Self]":
        """Those that the folders are, without empty ones; none where the first-level folders are the labels."""
        of = {part: tuple(image for image in self.images if image.part == part) for part in PARTS}
        return {part: self._part(images, part) for part, images in of.items() if images}

    def annotations(self) -> dict[str, Annotation]:
        """What was said about images of the folder, by name in Unicode form NFC: label, flag and note.

        Raises DatasetError for a data set that was not read from a folder, and an annotations.csv that is none.
        """
        return read_annotations(self._folder())

    def annotate(self, image: LabelledImage | str, *, label: str = "", flag: Flag = "", note: str = "") -> None:
        """Say that of an image, in place of what annotations.csv says of it: as the page of `salver annotate` does.

        `image` may be its name. Without `label` the folder's counts, and the flag "bad" leaves the image out. Read the
        data set again to have it. Raises DatasetError as `annotations` does and for what cannot be kept; and OSError.
        """
        store = AnnotationStore(self._folder())
        name = image if isinstance(image, str) else image.name
        if store.path(name) is None:
            raise DatasetError(f"{self.root} has no image '{printable(name)}'. Read the data set again.")
        store.change([Change(name, Annotation(label, flag, note))], store.version())

    def _folder(self) -> Path:
        if self.root is None:
            raise DatasetError("Annotations lie beside the images of a folder, and this data set is a table's.")
        return self.root

    @staticmethod
    def write_split(path: Path | str, parts: "Sequence[Dataset]") -> None:
        """Keep the parts that `split` gave in a file, as `salver split` does.

        Raises OSError, and DatasetError for what is no part of a split.
        """
        rows = [(dataset.part, dataset.images) for dataset in parts if dataset.part is not None]
        if len(rows) < len(parts):
            raise DatasetError("Only the parts that Dataset.split gives can be written to a split file.")
        write_parts(Path(path), rows)

    def read_split(self, path: Path | str) -> "dict[Part, Self]":
        """The parts into which such a file puts these images, without those that are empty.

        Labels are the data set's own, so that what has been annotated since counts. An image that is no longer used,
        such as one flagged as bad, drops out. Raises DatasetError for an image that the file does not place, or whose
        content has changed, and for an unknown part.
        """
        return {part: self._part(images, part) for part, images in read_parts(Path(path), self.images).items()}

    def split_as_given(
        self,
        val_size: float,
        test_size: float,
        *,
        stratify: bool = True,
        seed: int = 0,
        groups: Grouping | None = None,
    ) -> tuple[Self, Self, Self]:
        """Training, validation and test: the folders' own, where these are parts; else as `split` makes them.

        A part that has no folder is taken out of the training part, `val_size` or `test_size` of it; with a `val_size`
        of 0 there are no validation images unless they have a folder. Raises
        DatasetError as `split` does, and for folders without a training part or with a label that is not in it.
        """
        check_shares(test_size=test_size, val_size=val_size)
        given = self.parts()
        if not given:
            return self.split(val_size=val_size, test_size=test_size, stratify=stratify, seed=seed, groups=groups)
        if "train" not in given:
            raise DatasetError(
                f"{self.root} has folders for {' and '.join(given)}, and none to train on. Add the folder train."
            )
        check_trainable(given["train"], self.labels, *given.values())
        shares: dict[Part, float] = {"test": test_size, "validation": val_size}
        for part, share in shares.items():
            if not share:
                given.setdefault(part, self._part((), part))
            elif part not in given:
                given["train"], cut = given["train"].split(1 - share, stratify=stratify, seed=seed, groups=groups)
                given[part] = replace(cut, part=part)
        return given["train"], given["validation"], given["test"]

    @overload
    def split(
        self, train_size: float = 0.66, *, stratify: bool = True, seed: int = 0, groups: Grouping | None = None
    ) -> tuple[Self, Self]: ...

    @overload
    def split(
        self,
        *,
        val_size: float,
        test_size: float,
        stratify: bool = True,
        seed: int = 0,
        groups: Grouping | None = None,
    ) -> tuple[Self, Self, Self]: ...

    def split(
        self,
        train_size: float = 0.66,
        *,
        stratify: bool = True,
        seed: int = 0,
        groups: Grouping | None = None,
        val_size: float | None = None,
        test_size: float | None = None,
    ) -> tuple[Self, ...]:
        """Two parts, train with a share of `train_size` and test; or, by `val_size` and `test_size`, three parts.

        Shares are of all images and rounded down to whole ones. With `stratify` each label has that share, by largest
        remainder, and images in every part. Byte-identical images, near duplicates, an augmented image and its source,
        and images for which `groups` gives the same name stay together. The choice goes by hashes over seed and
        content, so that a seed gives the same split on every machine and wherever the folder lies.

        Raises SettingError for shares outside (0, 1) or of 1 and more together, DatasetError for a label with too few
        images.
        """
        SEED.check(seed)
        if val_size is None and test_size is None:
            check_shares(train_size=train_size)
            order = ranked(together(self.images, groups), self.labels, seed)
            return self._cut(order, Fraction(str(train_size)), stratify=stratify, names=("train", "test"))
        val_size, test_size = val_size or 0.0, test_size or 0.0
        check_shares(test_size=test_size, val_size=val_size)
        order = ranked(together(self.images, groups), self.labels, seed)
        validation, test = Fraction(str(val_size)), Fraction(str(test_size))
        parts = 1 if val_size == 0 else 2
        rest, tested = self._cut(order, 1 - test, stratify=stratify, names=("train", "test"), parts_of_first=parts)
        if val_size == 0:
            return rest, self._part((), "validation"), tested
        kept = set(rest.images)
        remaining = [group for group in order if group.images[0] in kept]
        share = 1 - validation / (1 - test)
        return *rest._cut(remaining, share, stratify=stratify, names=("train", "validation")), tested

    def folds(self, count: int, *, seed: int = 0, groups: Grouping | None = None) -> NDArray[np.int64]:
        """The fold of each image, [images]: from 0 to at most `count` - 1, of about one size and the same labels.

        What `split` keeps together lies in one fold. -1 stands for an image that is to be learnt in each fold and
        judged in none, as its label has no other that it could be judged by. There are fewer folds, or none, where too
        few images are apart from one another. Raises SettingError for a seed out of range.
        """
        SEED.check(seed)
        found = assign(together(self.images, groups), self.labels, count, seed)
        return np.array([found[image] for image in self.images], dtype=np.int64)

    def _cut(
        self, groups: list[Group], share: Fraction, *, stratify: bool, names: tuple[Part, Part], parts_of_first: int = 1
    ) -> tuple[Self, Self]:
        chosen = choose(groups, self.labels, share, stratify=stratify, parts_of_first=parts_of_first)
        first = tuple(image for image in self.images if image in chosen)
        second = tuple(image for image in self.images if image not in chosen)
        return self._part(first, names[0]), self._part(second, names[1])

    def _part(self, images: tuple[LabelledImage, ...], part: Part) -> Self:
        return replace(self, images=images, part=part, ignored=(), left_out=(), notes=())


def check_trainable(train: Dataset, labels: Sequence[str], *others: Dataset | None) -> None:
    """Every label has images to train on, and no part is empty. Raises DatasetError."""
    for dataset in (train, *others):
        if dataset is not None and not len(dataset):
            name = f"The {dataset.part} part" if dataset.part else "A part of the data set"
            raise DatasetError(f"{name} has no images. Split the data set again, or add images to it.")
    present = {image.label for image in train.images}
    missing = [label for label in labels if label not in present]
    if missing:
        elsewhere = sum(image.label == missing[0] for other in others if other is not None for image in other.images)
        where = f"; {counted(elsewhere, 'image')} of it in other parts" if elsewhere else ""
        raise DatasetError(
            f"The label '{missing[0]}' has no training images{where}. A net cannot learn it: put images of it into the "
            "training part (salver split does so for every label), or remove the label."
        )


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of them, in their order and evenly over the whole, which may be sorted by label."""
    count = min(len(items), most)
    return [items[place * len(items) // count] for place in range(count)]
