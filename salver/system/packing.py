"""What a web server's Content-Encoding says of a file, and its undoing in short steps; for the service and `build`."""

import zlib
from collections.abc import Iterable, Iterator

STEP_BYTES = 256 * 1024
"""About a millisecond's work."""
READ = frozenset({"gzip", "x-gzip", "deflate"})
COMPRESSIONS = READ | {"br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip", "aes128gcm"}
"""The codings that IANA lists, without `identity`. Object stores keep what an upload said, such as aws-chunked, UTF-8
or none: that names no compression and is read over, so that the bytes decide."""


class PackingError(Exception):
    """Its text says of the file what is wrong, such as "is damaged: it cannot be unpacked"."""


class Unpacker:
    """Undoes one gzip or deflate, as its first bytes say, or gzip only."""

    def __init__(self, *, gzip_only: bool = False) -> None:
        self.is_followed = False
        """Bytes came after the end, and were left."""
        self._zlib = zlib.decompressobj(wbits=zlib.MAX_WBITS | (16 if gzip_only else 32))

    @property
    def is_whole(self) -> bool:
        """The end has come."""
        return self._zlib.eof

    def unpacked(self, piece: bytes) -> Iterator[bytes]:
        """What the next piece unpacks to, STEP_BYTES at most at a time: who stops asking takes no memory for more.

        Raises PackingError.
        """
        try:
            while piece and not self._zlib.eof:
                yield self._zlib.decompress(piece, STEP_BYTES)
                piece = self._zlib.unconsumed_tail
        except zlib.error:
            raise PackingError("is damaged: it cannot be unpacked") from None
        self.is_followed = self.is_followed or bool(piece or self._zlib.unused_data)

    def finish(self) -> None:
        """Raises PackingError when the end has not come."""
        if not self.is_whole:
            raise PackingError("is cut off: its packing has no end")


def unpacker(content_encodings: Iterable[str]) -> Unpacker | None:
    """What undoes the packing that the headers Content-Encoding name; None when they name none.

    Raises PackingError for another than one gzip or deflate.
    """
    names = (name.strip().lower() for value in content_encodings for name in value.split(","))
    packed = [name for name in names if name in COMPRESSIONS]
    if len(packed) > 1 or not READ.issuperset(packed):
        raise PackingError(f"came packed as '{', '.join(packed)[:60]}'; one gzip or deflate is read")
    return Unpacker() if packed else None
