"""`split.csv`: which image is in which part, so that a split can be kept, passed on and looked at."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from salver.text import printable
from training.dataset.dataset import Dataset
from training.dataset.reading.folder import nfc
from training.dataset.reading.layout import PARTS, Part
from training.dataset.reading.table import read_table, write_table
from training.errors import DatasetError

FILE_NAME = "split.csv"
COLUMNS = ("path", "label", "part", "sha256")


def write_split(path: Path | str, parts: Sequence[Dataset]) -> None:
    """The parts that `Dataset.split` gave. Raises OSError, and DatasetError for what is no part of a split."""
    rows = []
    for dataset in parts:
        if dataset.part is None:
            raise DatasetError("Only the parts that Dataset.split gives can be written to a split file.")
        rows += [(image.name, image.label, dataset.part, image.sha256) for image in dataset.images]
    write_table(Path(path), COLUMNS, sorted(rows))


def read_split(path: Path | str, dataset: Dataset) -> dict[Part, Dataset]:
    """The parts of `dataset` that the file names, without those that are empty.

    Labels are the data set's own, so that what has been annotated since counts. An image that is no longer used, such
    as one flagged as bad, drops out. Raises DatasetError for an image of the data set that the file does not place, or
    whose content has changed, and for an unknown part.
    """
    placed: dict[str, tuple[Part, str]] = {}
    for line, row in read_table(Path(path), COLUMNS):
        part = next((part for part in PARTS if part == row["part"]), None)
        if part is None:
            raise DatasetError(f"{path}, line {line}: the part '{row['part']}' is not one of {', '.join(PARTS)}.")
        placed[nfc(row["path"])] = (part, row["sha256"])
    for image in dataset.images:
        found = placed.get(nfc(image.name))
        if found is None or found[1] != image.sha256:
            fault = "is not in" if found is None else "has changed since it was written to"
            raise DatasetError(f"The image {printable(image.name)} {fault} {path}. Split the data set again.")
    chosen = {image: placed[nfc(image.name)][0] for image in dataset.images}
    parts = {part: tuple(image for image in dataset.images if chosen[image] == part) for part in PARTS}
    return {
        part: replace(dataset, images=images, part=part, ignored=(), left_out=(), notes=())
        for part, images in parts.items()
        if images
    }
