"""Whether a model file changed, without reading it."""

import time
from collections.abc import Callable, Hashable

import fsspec
from fsspec.implementations.local import LocalFileSystem

from salver.system.steady_file import FileState, file_state

AGAIN_SECONDS = 3.0
"""After reading a local file until it is read once more: some disks tell times by two seconds, and what is written over
in that time looks the same. A second try, too, for a file that could not be opened for want of memory.
"""


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
    """Tells when a file is to be read: when it has another signature than when it was read last, kept for two looks.

    One that still changes is still being written, and one that could not be read has not been read.
    """

    def __init__(self, read: Hashable, clock: Callable[[], float] = time.monotonic) -> None:
        """`read` is the signature of the file that was read first."""
        self._seen = read
        self._clock = clock
        self._read: Hashable = None
        self._again_at: float | None = None
        self.done(read)

    def due(self, signature: Hashable) -> bool:
        """Whether the file, which has this signature now, is to be read."""
        kept = signature == self._seen
        self._seen = signature
        if signature != self._read:
            return kept
        return kept and self._again_at is not None and self._clock() >= self._again_at

    def is_read(self, signature: Hashable) -> bool:
        """Whether it looks as it did when it was read."""
        return signature == self._read

    def done(self, signature: Hashable) -> None:
        """It was read while it had this signature."""
        again = isinstance(signature, FileState) and signature != self._read
        self._read = signature
        self._again_at = self._clock() + AGAIN_SECONDS if again else None

    def failed(self) -> None:
        """It could not be read: whatever it looks like next, it is to be read."""
        self._read, self._again_at = None, None
