"""An image on the caller's machine, or its URL, in the form in which it is sent."""

import base64
import os
import re
import struct
from io import BytesIO
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from salver.client.result import ScoreError
from salver.system.regular_file import read_regular
from salver.text import without_login

if TYPE_CHECKING:
    from PIL import Image

Source: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image"

JPEG_QUALITY = 95
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
MAX_FILE_BYTES = 256 * 1024**2
"""Of a local file. A service takes 20 MiB unless it is set otherwise; `resize` makes smaller ones of larger."""
# What Pillow's readers raise on a damaged file, apart from DecompressionBombError.
DAMAGE = (OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, AttributeError, struct.error)


class Item(NamedTuple):
    """One image of a request: a field of the JSON item, and its text."""

    field: Literal["image_in_base64", "image_url"]
    text: str


def item(source: Source, resize: tuple[int, int] | None = None) -> Item | ScoreError:
    """A path or bytes as they are, a PIL image as PNG, an http(s) URL as itself: the service fetches that.

    With `resize` (height, width) a local image is shrunk, in its own proportions, to the smallest size that still
    covers height × width. It is never enlarged, and EXIF orientation is applied first. Grey and colour images with 8
    bits are shrunk, to JPEG, or to PNG when they have transparency; all others are sent as they are.
    """
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return Item("image_url", source)
    if isinstance(source, str) and _URL.match(source) and not os.path.lexists(source):
        what = f"{without_login(source)}: a service fetches http:// and https:// only."
        return ScoreError("urn:salver:unreadable-file", "The image cannot be read", what)
    try:
        return Item("image_in_base64", base64.b64encode(_bytes(source, resize)).decode("ascii"))
    except OSError as error:
        reason = error.strerror or str(error)
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else "image"
        return ScoreError("urn:salver:unreadable-file", "The image cannot be read", f"{name}: {reason}.")


def _bytes(source: Source, resize: tuple[int, int] | None) -> bytes:
    if isinstance(source, str | os.PathLike):
        source = read_regular(source, MAX_FILE_BYTES)
    if isinstance(source, bytes):
        return source if resize is None else _shrink_file(source, resize)
    return _png(source) if resize is None else _shrink(source, resize) or _png(source)


def _shrink_file(data: bytes, resize: tuple[int, int]) -> bytes:
    """The smaller file; the data as it is when it is not larger than asked, or not an image that Pillow reads."""
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as image:
            return _shrink(image, resize) or data
    except (*DAMAGE, Image.DecompressionBombError):
        return data  # the service says what is wrong with it


def _shrink(image: "Image.Image", resize: tuple[int, int]) -> bytes | None:
    """The file of the smaller image; None when it should be sent as it is."""
    from PIL import Image, ImageOps

    if image.mode not in ("L", "LA", "P", "RGB", "RGBA"):
        return None
    upright = ImageOps.exif_transpose(image)
    scale = max(resize[0] / upright.height, resize[1] / upright.width)
    if scale >= 1:
        return None
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
    elif upright.mode == "P":
        upright = upright.convert("RGB")
    size = (round(upright.width * scale), round(upright.height * scale))
    smaller = upright.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return _png(smaller) if smaller.mode in ("LA", "RGBA") else _jpeg(smaller)


def _jpeg(image: "Image.Image") -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0, icc_profile=image.info.get("icc_profile"))
    return file.getvalue()


def _png(image: "Image.Image") -> bytes:
    from PIL import ImageOps

    file = BytesIO()
    ImageOps.exif_transpose(image).save(file, "PNG", compress_level=1)
    return file.getvalue()
