"""Whether a model file changed, without reading it."""

from collections.abc import Hashable

import fsspec
from fsspec.implementations.local import LocalFileSystem

from artifact.steady_file import file_state


def local_path(location: str) -> str | None:
    """The path that a path or fsspec URI is on this machine; None for one elsewhere. Raises ValueError, ImportError."""
    files, path = fsspec.url_to_fs(location)
    return str(path) if isinstance(files, LocalFileSystem) else None


def signature(location: str) -> Hashable:
    """What differs between two states of the file at a path or fsspec URI.

    Of a local file it is that of what a link points to, because links are how releases are switched; elsewhere it is
    what the store tells: an ETag, a time, a size. Raises OSError, and whatever else the store's package raises.
    """
    files, path = fsspec.url_to_fs(location)
    if isinstance(files, LocalFileSystem):
        return file_state(path)
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
