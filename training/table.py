"""CSV files beside the images: read with messages that name the line, written whole."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from training.durable import durable
from training.errors import DatasetError
from training.labelled_image import printable


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and the wanted columns of each row; further columns are left alone, a byte order mark is skipped.

    Raises DatasetError for a file that cannot be read, is not UTF-8 CSV, or lacks a column, and for a
    label that a terminal would obey.
    """
    try:
        # surrogateescape: a file name that is not UTF-8 comes back as the bytes that it is.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            reader = csv.DictReader(stream)
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
                yield reader.line_num, {name: row[name] or "" for name in columns}
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}. Give a readable file.") from error
    except csv.Error as error:
        raise DatasetError(f"{path} is not a CSV file ({error}). Save it as CSV, encoded in UTF-8.") from error


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Whole or not at all, in UTF-8. Raises OSError."""
    with durable(path) as partial, partial.open("w", -1, "utf-8", "surrogateescape", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
