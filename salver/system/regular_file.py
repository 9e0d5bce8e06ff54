"""Files of strangers, opened so that none can hold the reader up: no pipe, socket or device, and nothing endless."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 20 * 1024**2
"""Of a photo, as `salver.artifact.pixels` takes it by default."""
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def open_regular(path: Path | str | os.PathLike[str]) -> BinaryIO:
    """The file, or the one that a link leads to, for reading.

    Raises OSError; for what is no file its `strerror` says what it is. Opening never waits, and what is looked at is
    what was opened, not what the name leads to later.
    """
    try:
        # A pipe that nobody writes to would be waited for; a terminal would become this process's.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(error.errno, "It is a socket or a device, not a file", os.fspath(path)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = _KINDS.get(stat.S_IFMT(mode), "a device")
        raise OSError(errno.EINVAL, f"It is {what}, not a file", os.fspath(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path | str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> bytes:
    """The file's bytes. Raises OSError, also for a file that has more than `max_bytes`, of which nothing is read."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = b"" if size > max_bytes else stream.read(size + 1)
        if len(data) > size:  # it grows while it is read, or lies in /proc, whose files say that they are empty
            data += stream.read(max_bytes + 1 - len(data))
        if max(size, len(data)) > max_bytes:
            text = f"It has {max(size, len(data)):,} bytes; the limit is {max_bytes:,} bytes"
            raise OSError(errno.EFBIG, text, os.fspath(path))
        return data
