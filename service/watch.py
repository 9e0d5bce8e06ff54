"""Whether a model file changed, without reading it."""

import os
from collections.abc import Hashable

import fsspec
from fsspec.implementations.local import LocalFileSystem


def signature(location: str) -> Hashable:
    """What differs between two states of the file at a path or fsspec URI.

    Of a local file it is that of what a link points to, because links are how releases are switched; elsewhere it is
    what the store tells: an ETag, a time, a size. Raises OSError, and whatever else the store's package raises.
    """
    files, path = fsspec.url_to_fs(location)
    if isinstance(files, LocalFileSystem):
        stat = os.stat(path)  # noqa: PTH116  # a plain string
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
    files.invalidate_cache()
    token: Hashable = files.checksum(path)
    return token


class Watch:
    """Tells when a file has another signature than the one that was read, and keeps it for two looks.

    One that still changes is still being written.
    """

    def __init__(self, read: Hashable) -> None:
        self._read = read
        self._seen = read

    def settled(self, signature: Hashable) -> bool:
        """Whether the file is to be read; then this signature counts as read."""
        kept = signature == self._seen
        self._seen = signature
        if not kept or signature == self._read:
            return False
        self._read = signature
        return True
