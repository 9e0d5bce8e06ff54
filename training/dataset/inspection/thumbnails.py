"""Small upright pictures of image files, made once and kept in the user's cache folder."""

import hashlib
import io
import os
from pathlib import Path

from platformdirs import user_cache_path

from salver.artifact.manifest import PixelSpec
from salver.system.durable import durable
from salver.system.regular_file import read_regular
from training.dataset.inspection.decoding import decoders
from training.dataset.inspection.files import Stamp

THUMBNAIL_SIDE = 256
PICTURE_SIDE = 1600
JPEG_BEGINS, JPEG_ENDS = b"\xff\xd8\xff", b"\xff\xd9"


def picture(data: bytes, side: int) -> bytes:
    """A JPEG of what training sees, at most `side` pixels a side. Raises ImageError."""
    image, _ = decoders().image(data, PixelSpec(height=side, width=side, resize="pad"))
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def thumbnail(path: Path, folder: Path | None = None) -> bytes:
    """From the cache while the file is unchanged. Raises ImageError and OSError."""
    key = hashlib.sha256(f"{THUMBNAIL_SIDE} {Stamp.of(path)} ".encode() + os.fsencode(path.absolute())).hexdigest()
    kept = (folder or user_cache_path("salver") / "thumbnails") / key[:2] / f"{key}.jpg"
    found = _kept(kept)
    if found is None:
        found = picture(read_regular(path), THUMBNAIL_SIDE)
        _keep(kept, found)
    return found


def _kept(path: Path) -> bytes | None:
    """None where no whole JPEG lies."""
    try:
        content = read_regular(path)
    except OSError:
        return None
    return content if content.startswith(JPEG_BEGINS) and content.endswith(JPEG_ENDS) else None


def _keep(path: Path, content: bytes) -> None:
    """Where the cache cannot be written, the thumbnail is made again the next time."""
    try:
        with durable(path) as partial:
            partial.write_bytes(content)
    except OSError:
        return
