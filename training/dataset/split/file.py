"""`split.csv`: which image is in which part, so that a split can be kept, passed on and looked at."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from salver.text import printable
from training.dataset.image import LabelledImage
from training.dataset.reading.folder import nfc
from training.dataset.reading.layout import PARTS, Part
from training.dataset.reading.table import read_table, write_table
from training.errors import DatasetError

FILE_NAME = "split.csv"
COLUMNS = ("path", "label", "part", "sha256")


def write_parts(path: Path, parts: Iterable[tuple[Part, Sequence[LabelledImage]]]) -> None:
    """The images of each part. Raises OSError."""
    rows = [(image.name, image.label, part, image.sha256) for part, images in parts for image in images]
    write_table(path, COLUMNS, sorted(rows))


def read_parts(path: Path, images: Sequence[LabelledImage]) -> dict[Part, tuple[LabelledImage, ...]]:
    """Those of `images` that the file puts into each part, without the parts that are empty.

    Raises DatasetError for an image that the file does not place or that has changed since, and for an unknown part.
    """
    placed = _placed(path)
    for image in images:
        found = placed.get(nfc(image.name))
        if found is None or found[1] != image.sha256:
            fault = "is not in" if found is None else "has changed since it was written to"
            raise DatasetError(f"The image {printable(image.name)} {fault} {path}. Split the data set again.")
    of = {part: tuple(image for image in images if placed[nfc(image.name)][0] == part) for part in PARTS}
    return {part: those for part, those in of.items() if those}


def check_split(path: Path) -> set[Part]:
    """The parts that it has. Raises DatasetError for a file that is not there or is no such table."""
    return {part for part, _ in _placed(path).values()}


def check_placed(path: Path, names: Iterable[str]) -> None:
    """Whether it places images of these names, as can be told before one is opened. Raises DatasetError."""
    placed = _placed(path)
    for name in names:
        if nfc(name) not in placed:
            raise DatasetError(f"The image {printable(name)} is not in {path}. Split the data set again.")


def _placed(path: Path) -> dict[str, tuple[Part, str]]:
    """Part and digest by name."""
    placed: dict[str, tuple[Part, str]] = {}
    for line, row in read_table(path, COLUMNS):
        part = next((part for part in PARTS if part == row["part"]), None)
        if part is None:
            raise DatasetError(f"{path}, line {line}: the part '{row['part']}' is not one of {', '.join(PARTS)}.")
        placed[nfc(row["path"])] = (part, row["sha256"])
    return placed
