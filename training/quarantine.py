"""`quarantine.csv` beside the images: unreadable files, listed by `salver check --quarantine`, that are not used."""

from collections.abc import Iterable
from pathlib import Path

from training.folder import nfc
from training.table import read_table, write_table

FILE_NAME = "quarantine.csv"
COLUMNS = ("path", "sha256", "reason")


def read_quarantine(root: Path) -> dict[str, str]:
    """Image name in NFC to the content's digest ("" for a file that could not be opened); empty without a file."""
    path = root / FILE_NAME
    return {nfc(row["path"]): row["sha256"] for _, row in read_table(path, COLUMNS)} if path.exists() else {}


def write_quarantine(root: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Rows of name, digest, reason. Raises OSError."""
    write_table(root / FILE_NAME, COLUMNS, rows)
