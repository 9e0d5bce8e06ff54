"""Everything in a folder of photos, with the annotations and the quarantine list applied, and nothing refused yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.annotations import Annotation, read_annotations
from training.folder import FoundImage, nfc, scan
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

    images: tuple[LabelledImage, ...]
    unlabelled: tuple[LabelledImage, ...]
    left_out: tuple[LeftOut, ...]
    ignored: tuple[Path, ...]
    folder_labels: tuple[str, ...]
    stale: tuple[str, ...]


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
    unchanged = listed and (not listed.sha256 or listed.sha256 == image.sha256)
    return "quarantined" if unchanged else ""


def _stale(annotations: Mapping[str, Annotation], images: tuple[FoundImage, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(annotations) - {nfc(image.name) for image in images}))
