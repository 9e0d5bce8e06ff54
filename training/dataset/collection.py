"""Everything in a folder of photos, with the annotations and the quarantine list applied, and nothing refused yet.

And the images that a table lists.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from salver.artifact.manifest import label_fault
from salver.text import counted, printable
from training.dataset.image import LabelledImage
from training.dataset.reading.alike import refuse_alike
from training.dataset.reading.annotations import Annotation, Quarantined, read_annotations, read_quarantine
from training.dataset.reading.folder import FoundImage, natural_order, nfc, scan
from training.dataset.reading.layout import Part, inner_labels, labels_in_names
from training.dataset.reading.table import read_table
from training.errors import DatasetError


@dataclass(frozen=True)
class LeftOut:
    """An image that is not used, and why: "flagged as bad", "quarantined", "unreadable", "in no part"."""

    image: LabelledImage
    reason: str


@dataclass(frozen=True)
class Collection:
    """`unlabelled` have an empty label: they lie beside the label folders and no annotation gives them one.

    `folder_labels` are those of all label folders, `filled` those of them that hold image files, `parts` the folders
    that are parts of a split, `notes` how the folders were understood; `stale` are the names in annotations.csv that no
    file has.
    """

    root: Path
    images: tuple[LabelledImage, ...]
    unlabelled: tuple[LabelledImage, ...]
    left_out: tuple[LeftOut, ...]
    ignored: tuple[Path, ...]
    folder_labels: tuple[str, ...]
    filled: frozenset[str]
    parts: Mapping[str, Part]
    notes: tuple[str, ...]
    stale: tuple[str, ...]

    def labels(self) -> tuple[str, ...]:
        """In class order. Raises DatasetError for a label without images to train on, fewer than two labels, and labels
        that a person takes for one.
        """
        full = {image.label for image in self.images}
        known = {*(out.image.label for out in self.left_out), *full} - {""}
        if len(full) < 2 and (advice := self.advice()):
            raise DatasetError(advice)
        for label in sorted({*self.folder_labels, *known} - full, key=natural_order):
            if label in known:
                raise DatasetError(f"The label '{label}' has no images left: all are left out. Add some.")
            if label not in self.filled:  # else all were given another label
                where = f"no folder '{label}' in {self.root}" if self.parts else f"{self.root / label}"
                raise DatasetError(f"The label '{label}' has no images: {where} holds none. Add images or remove it.")
        if len(full) < 2:
            others = len(self.ignored) + len(self.unlabelled)
            nothing = f"no folders, {counted(others, 'other entry', 'other entries')}"
            what = f"only the label '{next(iter(full))}'" if full else nothing
            raise DatasetError(f"{self.root} has {what}. It needs at least 2 labels: one folder of images for each.")
        refuse_alike(full, str(self.root))
        return tuple(sorted(full, key=natural_order))

    def advice(self) -> str:
        """What a person may have meant by folders that give fewer than two labels; empty when there is no guess."""
        inner = inner_labels(nfc(image.name) for image in (*self.images, *(out.image for out in self.left_out)))
        if inner and not self.unlabelled and not self.parts:
            folder, labels = inner
            return (
                f"{self.root} holds one folder with images, '{folder}', in which the folders {some(labels)} look like "
                f"the labels. Name that one: {self.root / folder}"
            )
        if self.unlabelled and not self.images and not self.folder_labels:
            count = counted(len(self.unlabelled), "image")
            seen = labels_in_names(image.name for image in self.unlabelled)
            guess = (
                f" Their names begin with {some(seen)}: if these are the labels, make a folder of each." if seen else ""
            )
            return (
                f"{self.root} has {count} and no folders, so no labels. It needs at least 2 labels: one folder of "
                f"images for each, or a label for each image in annotations.csv (salver annotate {self.root}).{guess}"
            )
        return ""

    def all_notes(self) -> tuple[str, ...]:
        """How the folders were understood, and what names no image."""
        if not self.stale:
            return self.notes
        rows = counted(len(self.stale), "row")
        names = "names" if len(self.stale) == 1 else "name"
        return (*self.notes, f"{rows} of annotations.csv {names} no image: {some(self.stale)}")


def collect(root: Path) -> Collection:
    """Raises DatasetError for what `scan` refuses, and for an annotation or quarantine file that cannot be used."""
    folder, annotations, quarantine = scan(root), read_annotations(root), read_quarantine(root)
    images, unlabelled, left_out = [], [], []
    for found in folder.images:
        annotation = annotations.get(nfc(found.name), Annotation())
        image = LabelledImage(found.path, annotation.label or found.label or "", found.name, part=found.part)
        reason = "flagged as bad" if annotation.flag else _quarantined(image, quarantine)
        if reason:
            left_out.append(LeftOut(image, reason))
        elif image.label and folder.parts and image.part is None:
            left_out.append(LeftOut(image, "in no part"))
        elif image.label:
            images.append(image)
        else:
            unlabelled.append(image)
    return Collection(
        root,
        tuple(images),
        tuple(unlabelled),
        tuple(left_out),
        folder.ignored,
        folder.labels,
        frozenset(found.label for found in folder.images if found.label),
        folder.parts,
        folder.notes,
        _stale(annotations, folder.images),
    )


def listed(table: Path) -> tuple[tuple[LabelledImage, ...], tuple[str, ...]]:
    """The images that a table with the columns `path` and `label` lists, and the labels in class order.

    Paths are relative to the table's own folder. Raises DatasetError as `Dataset.from_csv` does.
    """
    images: dict[str, LabelledImage] = {}
    for line, row in read_table(table, ("path", "label")):
        name, label = row["path"], nfc(row["label"].strip())
        fault = label_fault(label) if name and label else "path or label is empty"
        if fault or name in images:
            fault = fault or f"'{name}' has a row already"
            raise DatasetError(f"{table}, line {line}: {fault}. Give each image one row, with its label.")
        images[name] = LabelledImage(table.parent / name, label, name)
    labels = tuple(sorted({image.label for image in images.values()}, key=natural_order))
    if len(labels) < 2:
        raise DatasetError(f"{table} has {counted(len(labels), 'label')}. It needs at least 2.")
    refuse_alike(labels, str(table))
    return tuple(images.values()), labels


def some(names: Iterable[Path | str]) -> str:
    """The first five names."""
    shown = [printable(name) for name in names]
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "")


def _quarantined(image: LabelledImage, quarantine: Mapping[str, Quarantined]) -> str:
    """The reason while the file is still the one that was listed; one that has been mended since is used again."""
    listed = quarantine.get(nfc(image.name))
    if listed is None:
        return ""
    try:
        digest = image.sha256
    except DatasetError:
        digest = ""  # what cannot be opened was listed with none
    return "quarantined" if digest == listed.sha256 else ""


def _stale(annotations: Mapping[str, Annotation], images: tuple[FoundImage, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(annotations) - {nfc(image.name) for image in images}))
