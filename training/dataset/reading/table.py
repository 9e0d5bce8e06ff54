"""CSV files beside the images: read with messages that name the line, written whole, harmless in a spreadsheet.

A spreadsheet would run `=cmd|…` as a formula. An apostrophe goes before each place where one could begin and comes off
when the file is read, so every text comes back as it was. Such a place is the beginning of the cell, of a line in it,
or what follows a `;` or tab, at which some spreadsheets end a cell although the file has commas. Spaces, quotes and
apostrophes may stand before the formula.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from salver.system.durable import durable
from salver.system.regular_file import open_regular
from salver.text import printable
from training.errors import DatasetError

_FORMULA = r"(?:[^\S\t\r\n]|['\"])*[=+\-@＝＋－＠\t\r]"
_BEGINS = re.compile(rf"(?<![^;\t\r\n])(?={_FORMULA})")
_MARKED = re.compile(rf"(?<![^;\t\r\n])'(?={_FORMULA})")

Row = Sequence[str | float]


def read_table(path: Path, columns: Sequence[str], *, torn_end: bool = False) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and the wanted columns of each row; further columns are left alone, a byte order mark is skipped.

    With `torn_end` the last row may have been cut off by the end of its writer, and comes as far as it goes. Raises
    DatasetError for a file that cannot be read, is not UTF-8 CSV, ends inside of a quoted cell, or lacks a column, and
    for a label that a terminal would obey.
    """
    try:
        # surrogateescape: a file name that is not UTF-8 comes back as the bytes that it is.
        with TextIOWrapper(open_regular(path), "utf-8-sig", "surrogateescape", newline="") as stream:
            reader = csv.DictReader(stream, strict=not torn_end)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"{path} has no column '{missing[0]}': its first line has to be {','.join(columns)}."
                )
            for row in reader:
                label = row.get("label") or ""
                if printable(label) != label:
                    raise DatasetError(
                        f"{path}, line {reader.line_num}: the label '{printable(label)}' has control characters or "
                        "bytes that are not UTF-8. Write it anew."
                    )
                yield reader.line_num, {name: from_cell(row[name] or "") for name in columns}
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}. Give a readable file.") from error
    except csv.Error as error:
        raise DatasetError(f"{path} is not a CSV file ({error}). Save it as CSV, encoded in UTF-8.") from error


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Whole or not at all, in UTF-8. Raises OSError."""
    with durable(path) as partial, partial.open("w", -1, "utf-8", "surrogateescape", newline="") as stream:
        lines = Lines(stream)
        lines.add(columns)
        for row in rows:
            lines.add(row)


class Lines:
    """Rows, as they are added to an open file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # The writer leaves a lone carriage return unquoted, at which the reader would end the row, unless it ends its
        # own lines with one.
        self._writer = csv.writer(self, lineterminator="\r\n")

    def add(self, row: Row) -> None:
        self._writer.writerow(cells(row))

    def write(self, line: str) -> None:
        """What the csv module calls, once a row."""
        self._stream.write(line.removesuffix("\r\n") + "\n")


def cells(row: Row) -> list[str | float]:
    """A row as it stands in the file; numbers stay numbers, a minus sign and all."""
    return [to_cell(value) if isinstance(value, str) else value for value in row]


def to_cell(text: str) -> str:
    """The text as it stands in the file."""
    return _BEGINS.sub("'", text)


def from_cell(cell: str) -> str:
    """The text; a cell that was written without the apostrophe, by a person or an earlier version, as it is."""
    return _MARKED.sub("", cell)
