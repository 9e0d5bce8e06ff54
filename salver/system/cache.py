"""What was computed once, kept by its content in the user's cache folder: it saves time and is never needed."""

import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from platformdirs import user_cache_path

LIMIT_BYTES: Final = 2 * 2**30
"""A file above this size is begun anew: room for 400,000 feature vectors of MobileNetV2."""
KEPT_DAYS: Final = 180
AT_ONCE: Final = 500
"""Keys in one query; SQLite takes 32,766."""

_SCRIPT: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, value BLOB, day INTEGER) WITHOUT ROWID;
DELETE FROM kept WHERE day < {oldest};
"""


class Cache:
    """Values by key in one SQLite file; a context manager. Threads may share it.

    Without a file, or where it cannot be one, it remembers nothing beyond its own life; `lasts` tells.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._today = int(time.time() // 86400)
        self.lasts = path is not None
        try:
            self._database = self._opened(path)
        except (OSError, sqlite3.Error):
            self._database, self.lasts = self._opened(None), False

    @classmethod
    def of_user(cls, name: str) -> Self:
        """That of this name in the user's cache folder."""
        return cls(user_cache_path("salver") / f"{name}.sqlite")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those that are there."""
        found: dict[bytes, bytes] = {}
        with self._lock, suppress(sqlite3.Error):
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = self._database.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", some)  # noqa: S608
                found |= dict(rows)
        return found

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep them, all or none."""
        rows = [(key, value, self._today) for key, value in values.items()]
        with self._lock:
            try:
                with self._database:
                    self._database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)
            except sqlite3.Error:
                self.lasts = False

    def _opened(self, path: Path | None) -> sqlite3.Connection:
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > LIMIT_BYTES:
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{path}{suffix}").unlink(missing_ok=True)
        database = sqlite3.connect(path or ":memory:", timeout=30, check_same_thread=False)
        try:
            database.executescript(_SCRIPT.format(oldest=self._today - KEPT_DAYS))
        except sqlite3.Error:
            database.close()
            raise
        return database
