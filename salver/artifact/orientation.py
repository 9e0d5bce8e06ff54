"""How an image is to be turned: EXIF's orientation or, where it has none, XMP's.

Only the one entry is read. Pillow would read every entry of the block and copy what each of them claims.
"""

import re
import struct
from typing import Final

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from salver.artifact.bounds.structure import tiff_entries

AVIF_ORIENTATION: Final = "orientation"
"""Where `salver.artifact.formats` puts what an AVIF says outside of its EXIF, which alone counts there."""
_TAG: Final = 274
_INTEGERS: Final = {3: "H", 4: "L", 8: "h", 9: "l"}
_MAX_ENTRIES: Final = 65_535
_PREFIX: Final = re.compile(rb"^(Exif\0\0){1,2}")
_IN_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation(image: Image.Image) -> int:
    """1 to 8 as EXIF has them, or another number that was written there; 1 where there is none or it is broken."""
    if AVIF_ORIENTATION in image.info:
        return int(image.info[AVIF_ORIENTATION])
    found = _of_tiff(image) if isinstance(image, TiffImageFile) else _of_exif(image.info)
    return _of_xmp(image.info) if found is None else found


def _of_tiff(image: TiffImageFile) -> int | None:
    """Of the image's own directory, in which Pillow deletes the entry when it has turned the image."""
    value = image.tag_v2.get(_TAG)
    return value if isinstance(value, int) else None


def _of_exif(info: dict[str | tuple[int, int], object]) -> int | None:
    block = info.get("exif")
    if block is None:
        block = _of_text(info.get("Raw profile type exif"))
    if not isinstance(block, bytes):
        return None
    block = _PREFIX.sub(b"", block)
    try:
        return _entry(block) if block[:4] in (b"II*\0", b"MM\0*") else None
    except (IndexError, struct.error):
        return None


def _entry(block: bytes) -> int | None:
    for tag, kind, count, value in tiff_entries(block, _MAX_ENTRIES):
        if tag == _TAG and kind in _INTEGERS and count:
            return value
    return None


def _of_text(text: object) -> bytes | None:
    """ImageMagick's form of an EXIF block in a PNG: three lines, then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else None
    except ValueError:
        return None


def _of_xmp(info: dict[str | tuple[int, int], object]) -> int:
    text = info.get("XML:com.adobe.xmp") or info.get("xmp")
    if isinstance(text, str):
        text = text.encode("utf-8", "replace")
    found = _IN_XMP.search(text) if isinstance(text, bytes) else None
    return int(found[1]) if found else 1
