"""Files that are either whole or not there."""

import errno
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
    A link stays, and leads to the new file. Content and name are synced to disk. After an error, a full disk among
    them, what stood under `path` is untouched; an OSError names `path`.
    """
    check_replaceable(path)
    real = Path(os.path.realpath(path))
    real.parent.mkdir(parents=True, exist_ok=True)
    partial = real.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(real)
        _sync(real.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """Raises OSError for a folder, and for a device: a file would take its place, for whoever may write to /dev."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "It is a folder", str(path))
    if path.is_char_device() or path.is_block_device():
        raise OSError(errno.EINVAL, "It is a device, which is not replaced by a file", str(path))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
