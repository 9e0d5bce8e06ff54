"""Looking at image files: what was found out is kept by their content, so that nothing is decoded twice.

One SQLite file in the user's cache folder. A file that has neither changed its size nor any of its times is not even
read again; a copy or a renamed file is read, and found by its digest.
"""

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple, Self

import PIL
from platformdirs import user_cache_path

from salver.system.cores import available_cores
from salver.system.regular_file import read_regular
from training.dataset.inspection.inspection import Inspection, inspect_bytes
from training.progress import Progress, Silent

VERSION = 2
"""To be raised when an inspection has other fields, or the same bytes would give another one."""
KEPT_DAYS = 180
_CHUNK = 256

_SCRIPT = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS contents (sha256 TEXT PRIMARY KEY, size_bytes INTEGER, problem TEXT, form TEXT, mode TEXT,
    width INTEGER, height INTEGER, orientation INTEGER, phash BLOB, tile BLOB, day INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, altered INTEGER, sha256 TEXT,
    day INTEGER) WITHOUT ROWID;
DELETE FROM contents WHERE day < {oldest};
DELETE FROM files WHERE day < {oldest};
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
        # Another Pillow may decode what this one refuses.
        place = folder / f"inspections-{VERSION}-pillow-{PIL.__version__}.sqlite" if folder else ":memory:"
        self._database = opened(place, _SCRIPT.format(oldest=self._today - KEPT_DAYS))

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

    def of_file(self, path: Path) -> Inspection | None:
        """What is known about an unchanged file."""
        try:
            stamp = Stamp.of(path)
        except OSError:
            return None
        return self._found(_OF_FILE, (_key(path), *stamp))

    def of_content(self, sha256: str) -> Inspection | None:
        """What is known about these bytes, wherever they were seen."""
        return self._found(_OF_CONTENT, (sha256,))

    def keep(self, path: Path, stamp: Stamp, inspection: Inspection) -> None:
        """Remember; `commit` makes it last."""
        with self._lock:
            self._database.execute(_KEEP_CONTENT, (*astuple(inspection), self._today))
            self._database.execute(_KEEP_FILE, (_key(path), *stamp, inspection.sha256, self._today))

    def commit(self) -> None:
        """Write what was kept."""
        with self._lock:
            self._database.commit()

    def _found(self, query: str, values: tuple[object, ...]) -> Inspection | None:
        with self._lock, closing(self._database.execute(query, values)) as cursor:
            row = cursor.fetchone()
        return Inspection(*row) if row else None


def inspect_files(paths: Sequence[Path], cache: InspectionCache, progress: Progress | None = None) -> list[Inspection]:
    """One inspection a path, in order, on every core; what `cache` knows is not decoded again.

    A file that cannot be opened has a problem and no sha256. What was done before an interruption stays in the cache.
    """
    progress = progress or Silent()
    progress.begin("inspecting", len(paths))
    found: dict[Path, Inspection] = {}
    unknown: list[Path] = []
    for path in paths:
        known = cache.of_file(path)
        if known:
            found[path] = known
        else:
            unknown.append(path)
    progress.advance(len(found))
    for path, stamp, inspection in _inspected(unknown, cache):
        found[path] = inspection
        if stamp:
            cache.keep(path, stamp, inspection)
        progress.advance(1)
    return [found[path] for path in paths]


def _inspected(paths: Sequence[Path], cache: InspectionCache) -> Iterator[tuple[Path, Stamp | None, Inspection]]:
    """By chunks, so that Ctrl-C does not wait for the whole queue; each chunk is in the cache before the next."""
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(paths), _CHUNK):
            yield from pool.map(lambda path: _inspect(path, cache), paths[start : start + _CHUNK])
            cache.commit()


def _inspect(path: Path, cache: InspectionCache) -> tuple[Path, Stamp | None, Inspection]:
    try:
        stamp = Stamp.of(path)
        data = read_regular(path)
    except OSError as error:
        return path, None, Inspection("", problem=f"The file cannot be read: {error.strerror}.")
    digest = hashlib.sha256(data).hexdigest()
    return path, stamp, cache.of_content(digest) or inspect_bytes(data, digest)


def opened(place: Path | str, script: str) -> sqlite3.Connection:
    """A database after `script`, which makes its tables where they are missing. Raises sqlite3.Error and OSError."""
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(place, timeout=30, check_same_thread=False)
    try:
        database.executescript(script)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())
