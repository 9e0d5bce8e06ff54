"""`quarantine.csv` beside the images: unreadable files, listed by `salver check --quarantine`, that are not used."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training.dataset.reading.folder import nfc
from training.dataset.reading.table import read_table, write_table

FILE_NAME = "quarantine.csv"
COLUMNS = ("path", "sha256", "reason")


@dataclass(frozen=True)
class Quarantined:
    """An image's name, its content's digest ("" for a file that could not be opened), and what is wrong with it."""

    name: str
    sha256: str
    reason: str


def read_quarantine(root: Path) -> dict[str, Quarantined]:
    """By image name in Unicode form NFC; empty without a file. Raises DatasetError."""
    path = root / FILE_NAME
    if not path.exists():
        return {}
    rows = (Quarantined(row["path"], row["sha256"], row["reason"]) for _, row in read_table(path, COLUMNS))
    return {nfc(row.name): row for row in rows}


def write_quarantine(root: Path, rows: Iterable[Quarantined]) -> None:
    """In the order of the names. Raises OSError."""
    ordered = sorted(rows, key=lambda row: row.name)
    write_table(root / FILE_NAME, COLUMNS, ((row.name, row.sha256, row.reason) for row in ordered))
