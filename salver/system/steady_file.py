"""Files that somebody may be writing to meanwhile: read as they stood, or not at all."""

import errno
import os
from pathlib import Path
from typing import NamedTuple

from salver.system.regular_file import open_regular


class FileState(NamedTuple):
    """What differs between two states of a file, without reading it.

    Content that is written over in place, with equal length and the time of change set back (`cp -p`, `tar`, images
    with fixed times), still has another ctime: nobody can set that one.
    """

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int
    device: int


def file_state(path: Path | str | int) -> FileState:
    """Of the file, of what a link leads to, or of an open descriptor. Raises OSError."""
    stat = os.stat(path)  # noqa: PTH116  # a descriptor, or a plain string
    return FileState(stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino, stat.st_dev)


def read_steady(path: Path | str, max_bytes: int) -> bytes:
    """The file's bytes.

    Raises OSError, also for what is no file, for one of more than `max_bytes`, of which nothing is read, and for one
    that was written to while it was read.
    """
    with open_regular(path) as stream:
        before = file_state(stream.fileno())
        # A byte more than there should be, so that growth shows. Not `max_bytes`: as much memory would be asked for.
        data = b"" if before.size > max_bytes else stream.read(before.size + 1)
        if before.size > max_bytes or len(data) > max_bytes:
            text = f"It has {max(before.size, len(data)):,} bytes; the limit is {max_bytes:,} bytes"
            raise OSError(errno.EFBIG, text, os.fspath(path))
        if file_state(stream.fileno()) != before or len(data) != before.size:
            raise OSError(errno.EAGAIN, "It was written to while it was read", os.fspath(path))
        return data
