"""What was found out about image files, kept by their content, so that nothing is decoded twice.

One SQLite file in the user's cache folder. A file that has neither changed its size nor any of its times is not even
read again; a copy or a renamed file is read, and found by its digest.
"""

import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import PIL
from platformdirs import user_cache_path

if TYPE_CHECKING:
    from training.dataset.inspection.inspection import Inspection

VERSION = 2
"""To be raised when an inspection has other fields, or the same bytes would give another one."""
KEPT_DAYS = 180
Row = tuple[str, int, str, str, str, int, int, int, bytes, bytes]
"""The fields of an Inspection, in order."""

_TABLES = """
CREATE TABLE IF NOT EXISTS contents (sha256 TEXT PRIMARY KEY, size_bytes INTEGER, problem TEXT, form TEXT, mode TEXT,
    width INTEGER, height INTEGER, orientation INTEGER, phash BLOB, tile BLOB, day INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, altered INTEGER, sha256 TEXT,
    day INTEGER) WITHOUT ROWID;
"""
_OF_CONTENT = """SELECT sha256, size_bytes, problem, form, mode, width, height, orientation, phash, tile
    FROM contents WHERE sha256 = ?"""
_OF_FILE = """SELECT sha256, size_bytes, problem, form, mode, width, height, orientation, phash, tile
    FROM files JOIN contents USING (sha256) WHERE path = ? AND size = ? AND changed = ? AND altered = ?"""
_KEEP_CONTENT = "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_KEEP_FILE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)"


class Stamp(NamedTuple):
    """A file that has been rewritten differs in one of these, even when its old date has been put back."""

    size: int
    changed_ns: int
    altered_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises OSError."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class InspectionCache:
    """For one process; threads may read from it. Without a folder it remembers nothing beyond its own life."""

    def __init__(self, folder: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._today = int(time.time() // 86400)
        self._database = _open(folder, self._today - KEPT_DAYS)

    @classmethod
    def of_user(cls) -> Self:
        """In the user's cache folder; where that cannot be written, in memory."""
        try:
            return cls(user_cache_path("salver"))
        except (OSError, sqlite3.Error):
            return cls()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
        self._database.close()

    def of_file(self, path: Path) -> Row | None:
        """What is known about an unchanged file."""
        try:
            stamp = Stamp.of(path)
        except OSError:
            return None
        return self._row(_OF_FILE, (_key(path), *stamp))

    def of_content(self, sha256: str) -> Row | None:
        """What is known about these bytes, wherever they were seen."""
        return self._row(_OF_CONTENT, (sha256,))

    def keep(self, path: Path, stamp: Stamp, inspection: "Inspection") -> None:
        """Remember; `commit` makes it last."""
        with self._lock:
            self._database.execute(_KEEP_CONTENT, (*astuple(inspection), self._today))
            self._database.execute(_KEEP_FILE, (_key(path), *stamp, inspection.sha256, self._today))

    def commit(self) -> None:
        """Write what was kept."""
        with self._lock:
            self._database.commit()

    def _row(self, query: str, values: tuple[object, ...]) -> Row | None:
        with self._lock, closing(self._database.execute(query, values)) as cursor:
            row: Row | None = cursor.fetchone()
        return row


def _open(folder: Path | None, oldest_day: int) -> sqlite3.Connection:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    # Another Pillow may decode what this one refuses.
    place = folder / f"inspections-{VERSION}-pillow-{PIL.__version__}.sqlite" if folder else ":memory:"
    database = sqlite3.connect(place, timeout=30, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_TABLES)
        database.execute("DELETE FROM contents WHERE day < ?", (oldest_day,))
        database.execute("DELETE FROM files WHERE day < ?", (oldest_day,))
        database.commit()
    except sqlite3.Error:
        database.close()
        raise
    return database


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())
