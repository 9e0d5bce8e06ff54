"""What is said about images in tables beside them.

`annotations.csv` is what a person said, and the only file that annotation ever writes. `quarantine.csv` lists images
that are not used because they cannot be read, as `salver check --quarantine` found them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from salver.text import printable
from training.dataset.reading.folder import nfc
from training.dataset.reading.table import read_table, write_table
from training.errors import DatasetError

FILE_NAME = "annotations.csv"
COLUMNS = ("path", "label", "flag", "note")
QUARANTINE = "quarantine.csv"
QUARANTINE_COLUMNS = ("path", "sha256", "reason")
LABEL_CHARACTERS = 255
NOTE_CHARACTERS = 60_000
"""With an apostrophe before each, fewer than the 131,072 that Python's csv module reads in a cell."""
SURROGATE = re.compile("[\ud800-\udfff]")
Flag = Literal["", "bad"]


@dataclass(frozen=True)
class Annotation:
    """`label` overrides that of the folder unless empty; an image with the flag "bad" is left out of training."""

    label: str = ""
    flag: Flag = ""
    note: str = ""

    @property
    def fault(self) -> str:
        """What cannot be kept of it, as a sentence with advice; empty when all can. For reading as for writing.

        A note may hold anything that is Unicode, a label what a folder's name may.
        """
        if self.label != nfc(self.label.strip()) or self.label != printable(self.label):
            return "The label has control characters, spaces around it, or is not in Unicode form NFC. Write it anew."
        if len(self.label) > LABEL_CHARACTERS:
            return f"The label has {len(self.label):,} characters. Write at most {LABEL_CHARACTERS}."
        if len(self.note) > NOTE_CHARACTERS:
            return f"The note has {len(self.note):,} characters. Write at most {NOTE_CHARACTERS:,}."
        if SURROGATE.search(self.note):
            return "The note has half a character (a lone surrogate, or bytes that are not UTF-8). Write it anew."
        return ""


@dataclass(frozen=True)
class Quarantined:
    """An image's name, its content's digest ("" for a file that could not be opened), and what is wrong with it."""

    name: str
    sha256: str
    reason: str


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
            raise DatasetError(f"{path}, line {line}: '{printable(name)}' has a row already. Keep one of them.")
        if flag not in ("", "bad"):
            raise DatasetError(
                f"{path}, line {line}: the flag '{printable(flag)}' is not known. Write bad, or nothing."
            )
        annotation = Annotation(nfc(row["label"].strip()), "bad" if flag else "", row["note"])
        if fault := annotation.fault:
            raise DatasetError(f"{path}, line {line}: {fault}")
        found[name] = annotation
    return found


def write_annotations(root: Path | str, annotations: Mapping[str, Annotation]) -> None:
    """In the order of the names; rows that say nothing are left out.

    Raises DatasetError, and writes nothing, for what `read_annotations` would not give back; and OSError.
    """
    for name, found in annotations.items():
        if fault := found.fault or _fault_of_name(name):
            raise DatasetError(f"'{printable(name)}': {fault}")
    said = {name: found for name, found in sorted(annotations.items()) if found != Annotation()}
    rows = ((name, found.label, found.flag, found.note) for name, found in said.items())
    write_table(Path(root) / FILE_NAME, COLUMNS, rows)


def read_quarantine(root: Path) -> dict[str, Quarantined]:
    """By image name in Unicode form NFC; empty without a file. Raises DatasetError."""
    path = root / QUARANTINE
    if not path.exists():
        return {}
    rows = (Quarantined(row["path"], row["sha256"], row["reason"]) for _, row in read_table(path, QUARANTINE_COLUMNS))
    return {nfc(row.name): row for row in rows}


def write_quarantine(root: Path, rows: Iterable[Quarantined]) -> None:
    """In the order of the names. Raises OSError."""
    ordered = sorted(rows, key=lambda row: row.name)
    write_table(root / QUARANTINE, QUARANTINE_COLUMNS, ((row.name, row.sha256, row.reason) for row in ordered))


def _fault_of_name(name: str) -> str:
    """The bytes of a file name that is not UTF-8 are escaped in it, and go out as they came."""
    if name != nfc(name):
        return "The name is not in Unicode form NFC."
    try:
        back = name.encode(errors="surrogateescape").decode(errors="surrogateescape")
    except UnicodeEncodeError:
        back = ""
    return "" if name == back else "The name has half a character, which no file's name has."
