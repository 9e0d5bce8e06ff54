"""`sources.csv` beside the images: where each one came from. Written line by line; an interrupted build goes on."""

import os
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from training.dataset.reading.table import Lines, read_table, write_table

FILE_NAME = "sources.csv"


@dataclass(frozen=True)
class Origin:
    """One image of a built data set. `url` is a path for a local file; `query` is empty unless a provider found it."""

    path: str
    label: str
    url: str
    provider: str
    query: str
    page: str
    licence: str
    licence_url: str
    author: str
    title: str
    sha256: str
    time: str


COLUMNS = tuple(field.name for field in fields(Origin))


class Sources:
    """The table, open for adding. What an earlier run added, and whose image is still there, is in `known`."""

    def __init__(self, out: Path) -> None:
        self._path = out / FILE_NAME
        self.known: list[Origin] = []
        if self._path.exists():
            rows = [Origin(**row) for _, row in read_table(self._path, COLUMNS, torn_end=True)]
            self.known = [row for row in rows if row.sha256 and (out / row.path).is_file()]

    def __enter__(self) -> Self:
        write_table(self._path, COLUMNS, map(astuple, self.known))
        self._stream = self._path.open("a", -1, "utf-8", "surrogateescape", newline="")
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stream.close()

    def add(self, origin: Origin) -> None:
        """On disk when this returns. Raises OSError."""
        Lines(self._stream).add(astuple(origin))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.known.append(origin)
