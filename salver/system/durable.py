"""Files that are either whole or not there."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIALS = ".*.partial"
"""The temporary names, as a pattern."""


@contextmanager
def durable(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to; it gets the final name when the block ends without an error.

    The name is each writer's own, whatever threads and processes write `path` at once: the last one to end wins.
    Content and name are synced to disk. After an error, a full disk among them, what stood under `path` is untouched;
    an OSError names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
