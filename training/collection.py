"""Everything in a folder of photos, with the annotations and the quarantine list applied, and nothing refused yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.annotations import Annotation, read_annotations
from training.errors import DatasetError
from training.folder import FoundImage, natural_order, nfc, scan
from training.labelled_image import LabelledImage
from training.quarantine import Quarantined, read_quarantine


@dataclass(frozen=True)
class LeftOut:
    """An image that is not used, and why: "flagged as bad", "quarantined", "unreadable"."""

    image: LabelledImage
    reason: str


@dataclass(frozen=True)
class Collection:
    """`unlabelled` have an empty label: they lie beside the label folders and no annotation gives them one.

    `folder_labels` are those of all first-level folders; `stale` are the names in annotations.csv that no file has.
    """

    root: Path
    images: tuple[LabelledImage, ...]
    unlabelled: tuple[LabelledImage, ...]
    left_out: tuple[LeftOut, ...]
    ignored: tuple[Path, ...]
    folder_labels: tuple[str, ...]
    stale: tuple[str, ...]

    def labels(self) -> tuple[str, ...]:
        """In class order. Raises DatasetError for a label without images to train on, and fewer than two labels."""
        full = {image.label for image in self.images}
        known = {*(out.image.label for out in self.left_out), *full} - {""}
        emptied = {nfc(image.name.partition("/")[0]) for image in self.images} - full  # all were given another label
        for label in sorted({*self.folder_labels, *known} - full, key=natural_order):
            if label in known:
                raise DatasetError(f"The label '{label}' has no images left: all are flagged or quarantined. Add some.")
            if label not in emptied:
                raise DatasetError(
                    f"The label '{label}' has no images: {self.root / label} holds none. Add images or remove it."
                )
        if len(full) < 2:
            others = len(self.ignored) + len(self.unlabelled)
            what = f"only the label '{next(iter(full))}'" if full else f"no folders, {others} other entries"
            raise DatasetError(f"{self.root} has {what}. It needs at least 2 labels: one folder of images for each.")
        return tuple(sorted(full, key=natural_order))


def collect(root: Path) -> Collection:
    """Raises DatasetError for what `scan` refuses, and for an annotation or quarantine file that cannot be used."""
    folder, annotations, quarantine = scan(root), read_annotations(root), read_quarantine(root)
    images, unlabelled, left_out = [], [], []
    for found in folder.images:
        annotation = annotations.get(nfc(found.name), Annotation())
        image = LabelledImage(found.path, annotation.label or found.label or "", found.name)
        reason = "flagged as bad" if annotation.flag else _quarantined(image, quarantine)
        if reason:
            left_out.append(LeftOut(image, reason))
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
        _stale(annotations, folder.images),
    )


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
