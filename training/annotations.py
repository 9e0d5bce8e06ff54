"""`annotations.csv` beside the images: what a person said about them. The only file that annotation ever writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.errors import DatasetError
from training.folder import nfc
from training.table import read_table, write_table

FILE_NAME = "annotations.csv"
COLUMNS = ("path", "label", "flag", "note")
Flag = Literal["", "bad"]


@dataclass(frozen=True)
class Annotation:
    """`label` overrides that of the folder unless empty; an image with the flag "bad" is left out of training."""

    label: str = ""
    flag: Flag = ""
    note: str = ""


def read_annotations(root: Path | str) -> dict[str, Annotation]:
    """By image name in Unicode form NFC; empty without a file.

    Raises DatasetError for another flag than "bad", a path that stands in two rows, and a file that is no such table.
    """
    path = Path(root) / FILE_NAME
    if not path.exists():
        return {}
    found: dict[str, Annotation] = {}
    for line, row in read_table(path, COLUMNS):
        name, flag = nfc(row["path"]), row["flag"].strip()
        if name in found:
            raise DatasetError(f"{path}, line {line}: '{name}' has a row already. Keep one of them.")
        if flag not in ("", "bad"):
            raise DatasetError(f"{path}, line {line}: the flag '{flag}' is not known. Write bad, or nothing.")
        found[name] = Annotation(nfc(row["label"].strip()), "bad" if flag else "", row["note"])
    return found


def write_annotations(root: Path | str, annotations: Mapping[str, Annotation]) -> None:
    """In the order of the names; rows that say nothing are left out. Raises OSError."""
    said = {name: found for name, found in sorted(annotations.items()) if found != Annotation()}
    rows = ((name, found.label, found.flag, found.note) for name, found in said.items())
    write_table(Path(root) / FILE_NAME, COLUMNS, rows)
