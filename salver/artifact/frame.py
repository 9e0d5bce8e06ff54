"""Which of a file's pictures a person sees, and where it lies: what the file only claims about itself is not believed.

A default picture behind an animation, what a file calls its background, a preview in front of the picture and an alpha
that nobody set are all there, and no program that people look at pictures with shows them.
"""

import struct
import zlib
from typing import Final, NamedTuple

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from salver.artifact.bounds.structure import png_chunks
from salver.artifact.errors import CorruptImage, UnsupportedImage

_SUBFILE: Final = 254
_OLD_SUBFILE: Final = 255
_INNER_PICTURES: Final = 330
_PREVIEW_OR_MASK: Final = 0b101
"""Bits of TIFF's tag 254."""
_OLD_PREVIEW: Final = 2
_EXTRA_SAMPLES: Final = 338
_PREMULTIPLIED: Final = 1


class Frame(NamedTuple):
    """Where a picture lies on a canvas that is empty around it: left, top, right and bottom in pixels."""

    canvas: tuple[int, int]
    box: tuple[int, int, int, int]


def first_of_animation(data: bytes) -> tuple[bytes, Frame | None]:
    """A PNG whose default picture is no part of its animation becomes one of the animation's first frame.

    Any other PNG is given back as it is. Raises CorruptImage for an animation without a frame.
    """
    if b"acTL" not in data:
        return data, None
    chunks = list(png_chunks(data))
    names = [name for name, _, _ in chunks]
    pixels = names.index(b"IDAT") if b"IDAT" in names else len(names)
    animations = [data[begins + 8 : begins + 12] for name, begins, _ in chunks[:pixels] if name == b"acTL"]
    if not any(map(any, animations)) or b"fcTL" in names[:pixels]:
        return data, None
    control, rows = _first_frame(data, chunks[pixels:])
    canvas, (width, height, left, top) = struct.unpack_from(">II", data, 16), struct.unpack_from(">IIII", control, 4)
    if not (0 < width <= canvas[0] - left and 0 < height <= canvas[1] - top):
        raise CorruptImage("The PNG file is truncated or corrupt (a frame lies outside of its picture).")
    head = _png_chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29])
    between = [data[begins:ends] for name, begins, ends in chunks[1:pixels] if name != b"acTL"]
    pieces = [data[:8], head, *between, _png_chunk(b"IDAT", rows), _png_chunk(b"IEND", b"")]
    return b"".join(pieces), Frame(canvas, (left, top, left + width, top + height))


def frame_of_gif(image: ImageFile) -> Frame | None:
    """Of an image whose pixels are not loaded yet; None when its frame fills the screen."""
    if not isinstance(image, GifImageFile) or not image.tile:
        return None
    left, top, right, bottom = (int(side) for side in image.tile[0].extents or (0, 0, *image.size))
    whole = (left, top, right, bottom) == (0, 0, *image.size)
    return None if whole else Frame(image.size, (left, top, right, bottom))


def refuse_preview(image: ImageFile) -> None:
    """Raises UnsupportedImage for a TIFF that begins with a small picture, or a mask, of another one in it."""
    if not isinstance(image, TiffImageFile):
        return
    tags = image.tag_v2
    others = tags.next or _INNER_PICTURES in tags
    kind, old_kind = tags.get(_SUBFILE, 0), tags.get(_OLD_SUBFILE, 0)
    if others and (old_kind == _OLD_PREVIEW or (isinstance(kind, int) and kind & _PREVIEW_OR_MASK)):
        raise UnsupportedImage(
            "This kind of TIFF is not a supported image: it begins with a preview or a mask of the picture. Save the "
            "picture as PNG or JPEG."
        )


def ignore_unset_alpha(image: ImageFile) -> None:
    """Make a BMP or TIFF opaque when its alpha is 0 everywhere, as Windows and most programs show it.

    Many writers leave the fourth byte at 0; those of the other formats mean it, and so does one that has multiplied
    the colours by it.
    """
    unset = isinstance(image, BmpImageFile) or (
        isinstance(image, TiffImageFile) and _PREMULTIPLIED not in image.tag_v2.get(_EXTRA_SAMPLES, ())
    )
    if unset and image.mode in ("RGBA", "LA") and image.getextrema()[-1] == (0, 0):
        image.putalpha(255)


def on_canvas(picture: Image.Image, frame: Frame | None, background: tuple[int, int, int]) -> Image.Image:
    """The frame, in mode RGB, where it lies; around it is the background, as behind transparent pixels."""
    if frame is None:
        return picture
    canvas = Image.new("RGB", frame.canvas, background)
    canvas.paste(picture, frame.box)
    return canvas


def _first_frame(data: bytes, chunks: list[tuple[bytes, int, int]]) -> tuple[bytes, bytes]:
    """Its control and its packed rows."""
    control, rows = b"", []
    for name, begins, ends in chunks:
        content = data[begins + 8 : ends - 4]
        if name == b"fcTL" and control:
            break
        if name == b"fcTL":
            control = content
        elif name == b"fdAT" and control:
            rows.append(content[4:])
    if len(control) < 26 or not rows:
        raise CorruptImage("The PNG file is truncated or corrupt (its animation has no frame).")
    return control, b"".join(rows)


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
