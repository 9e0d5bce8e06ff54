"""What a file's structure asks for besides its pixels, counted before anything of it is decoded.

A reader does work for each scan, segment, chunk, comment block, strip and directory entry, however empty it is, so
each is counted and bounded here. The counting is linear in the file and itself bounded: it stops at the limit. Blocks
that no pixel depends on are left out where reading them would cost more than the picture.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from salver.artifact.errors import CorruptImage, ImageError, ImageTooLarge

MAX_SEGMENTS: Final = 4096
"""Of a JPEG. A profile has up to 255, ten megabytes of XMP have 160."""
MAX_PADDING_BYTES: Final = 65_536
"""Between a JPEG's segments, where a reader looks for the next one byte by byte."""
MAX_SCANS: Final = 256
MAX_SCAN_PIXELS: Final = 2_500_000_000
"""Scans times pixels of a JPEG: encoders write up to twenty scans, so that 50 megapixels with fifty pass."""
MAX_CHUNKS: Final = 32_768
"""Of a PNG or WebP. Encoders write the pixels in pieces of 8 KiB or more, so that 20 MiB are some 2,600 chunks."""
MAX_BLOCKS: Final = 65_536
"""Of the extensions before a GIF's first picture, 255 bytes each: 16 MiB of comment or XMP."""
MAX_RLE_PIXELS: Final = 10_000_000
"""Of a run-length coded BMP, which Pillow reads in Python."""
MAX_STRIPS: Final = 65_536
"""Strips or tiles of a TIFF. Some scanners write one for each row."""
SPARED_TILE_PIXELS: Final = 4_000_000
"""A tile may have so many pixels more than twice the image: a small image often lies in one tile of a fixed size."""
MAX_ENTRIES: Final = 1024
"""Of a TIFF's directory. Cameras write up to about a hundred."""
MAX_BLOCK_BYTES: Final = 4 * 1024**2
"""A larger colour profile or text is ignored."""
MAX_BLOCKS_BYTES: Final = 4 * MAX_BLOCK_BYTES
"""Behind so much of them, so are all others."""
SPARED_BYTES: Final = 64 * 1024
"""Blocks that nobody needs are left in a JPEG up to so many bytes: most photos are then handed on as they are."""
LIGHT_BYTES: Final = 2 * 1024**2
LIGHT_PIXELS: Final = 2 * 1024**2
"""1920 x 1080 and a little more."""
MAX_EXIF_SEGMENTS: Final = 16
"""Of a JPEG, one mebibyte; the orientation stands in the first. A reader would copy all for each one more."""

_ANIMATED: Final = 0x02
_ANIMATED_WITH_ALPHA: Final = 0x12
"""Flags in the head of a WebP."""
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset({0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)})
_WITH_LENGTH: Final = frozenset({*range(0xC0, 0xC8), *range(0xC9, 0xD0), *range(0xDA, 0xF0), 0xFE})
"""Markers of a JPEG as Pillow reads them."""
_UNUSED_SEGMENTS: Final = frozenset({*range(0xE3, 0xEE), 0xEF, 0xFE})
"""APP3 to APP13, APP15 and comments: what colours and orientation depend on stands in APP0 to APP2 and APP14."""
_PACKED_FROM: Final = {b"iCCP": 1, b"tEXt": 0, b"zTXt": 1, b"iTXt": 2}
"""Where the content of such a chunk begins behind its keyword; of iTXt, two more texts stand before it."""
_USED_TEXTS: Final = (
    b"XML:com.adobe.xmp\0",
    b"Raw profile type exif\0",
    b"Raw profile type xmp\0",
    b"xmp\0",
    b"exif\0",
)


def checked(data: bytes, form: str) -> bytes:
    """The file, maybe without blocks that no pixel depends on.

    Raises ImageTooLarge, naming what there is too much of, and CorruptImage where the counting cannot go on.
    """
    check = _CHECKS.get(form)
    try:
        return data if check is None else check(data)
    except (IndexError, struct.error):
        raise CorruptImage(f"The {form} file is truncated or corrupt (a part of it cannot be read).") from None


def is_light(data: bytes) -> bool:
    """Whether by all that can be counted no more than a quarter of a second of a core can go into decoding the file.

    Such are most photos that are sent to be scored: JPEG, PNG and WebP of up to two megapixels and mebibytes.
    """
    if len(data) > LIGHT_BYTES:
        return False
    try:
        width, height = _size(data)
    except (ImageError, IndexError, struct.error):
        return False
    return width * height <= LIGHT_PIXELS


def _size(data: bytes) -> tuple[int, int]:
    """Of a JPEG, PNG or WebP, from its head. Raises ImageError, IndexError and struct.error."""
    if data.startswith(b"\xff\xd8\xff"):
        for marker, begins, _ in _segments(data):
            if marker in _FRAMES:
                height, width = struct.unpack_from(">HH", data, begins + 5)
                return width, height
    if data.startswith(b"\x89PNG"):
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data[:4] == b"RIFF" and (size := webp_size(data)):
        return size
    raise IndexError


def _too_many(form: str, what: str, limit: int) -> NoReturn:
    raise ImageTooLarge(f"The {form} image holds too many {what}; the limit is {limit:,}. Save it anew.")


def _jpeg(data: bytes) -> bytes:
    kept: list[bytes] = []
    start = unused_bytes = exif_segments = 0
    for marker, begins, ends in _segments(data):
        is_exif = marker == 0xE1 and data.startswith(b"Exif\0\0", begins + 4)
        exif_segments += is_exif
        if marker in _UNUSED_SEGMENTS or (is_exif and exif_segments > MAX_EXIF_SEGMENTS):
            kept.append(data[start:begins])
            unused_bytes += ends - begins
            start = ends
    return data if unused_bytes <= SPARED_BYTES else b"".join([*kept, data[start:]])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of each segment up to the first scan; whatever follows is counted, too."""
    segments = padding = 0
    at = 2
    several_scans, pixels, components = False, 0, 0
    while True:
        found = _MARKER.search(data, at)
        begins = found.start() if found else len(data)
        segments += 1
        padding += begins - at
        if segments > MAX_SEGMENTS:
            _too_many("JPEG", "segments", MAX_SEGMENTS)
        if padding > MAX_PADDING_BYTES:
            _too_many("JPEG", "bytes between its segments", MAX_PADDING_BYTES)
        marker = data[begins + 1] if found else 0
        if marker in _ALONE:
            at = begins + 2
            continue
        if marker not in _WITH_LENGTH:  # the reader goes no further
            return
        at = begins + 2 + int.from_bytes(data[begins + 2 : begins + 4])
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, begins + 5)
            pixels, several_scans = height * width, marker in (0xC2, 0xC6, 0xCA, 0xCE)
        if marker == 0xDA:
            if several_scans or data[begins + 4] < components:
                _count_scans(data, begins, pixels)
            return
        yield marker, begins, at


def _count_scans(data: bytes, at: int, pixels: int) -> None:
    """From the first scan on, to the end of the picture."""
    most = min(MAX_SCANS, max(1, MAX_SCAN_PIXELS // max(1, pixels)))
    scans = 0
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or data[found.start() + 1] == 0xD9:
            return
        at = found.start() + 2 + int.from_bytes(data[found.start() + 2 : found.start() + 4])
        scans += data[found.start() + 1] == 0xDA
        if scans > most:
            _too_many("JPEG", f"scans for its {pixels:,} pixels", most)
    _too_many("JPEG", "segments", MAX_SEGMENTS)


def _png(data: bytes) -> bytes:
    kept: list[bytes] = []
    start = used = 0
    for name, begins, ends in png_chunks(data):
        if name not in _PACKED_FROM:
            continue
        size = _unpacked_bytes(name, data[begins + 8 : ends - 4]) if used < MAX_BLOCKS_BYTES else MAX_BLOCKS_BYTES
        if 0 <= size <= MAX_BLOCK_BYTES:
            used += size
        else:
            kept.append(data[start:begins])
            start = ends
    return b"".join([*kept, data[start:]]) if start else data


def _unpacked_bytes(name: bytes, content: bytes) -> int:
    """Of a profile or a text; -1 for a text that says nothing of the pixels."""
    if name != b"iCCP" and not content.startswith(_USED_TEXTS):
        return -1
    _, _, rest = content.partition(b"\0")
    packed = rest[_PACKED_FROM[name] :]
    if name == b"tEXt" or (name == b"iTXt" and rest[:1] == b"\0"):
        return len(packed)
    if name == b"iTXt":
        packed = packed.split(b"\0", 2)[-1]
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_BLOCK_BYTES + 1))
    except zlib.error:
        return 0  # the reader ignores it


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of each chunk of a PNG. Raises ImageTooLarge for too many."""
    return _chunks(data, 8, ">I", 4, "PNG")


def _chunks(data: bytes, at: int, length_form: str, behind: int, form: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of each chunk: PNG has length, name, content and 4 bytes more, RIFF has name and length."""
    name_at, length_at = (4, 0) if form == "PNG" else (0, 4)
    count = 0
    while at + 8 <= len(data):
        count += 1
        if count > MAX_CHUNKS:
            _too_many(form, "chunks", MAX_CHUNKS)
        (length,) = struct.unpack_from(length_form, data, at + length_at)
        ends = at + 8 + length + (behind or length % 2)
        yield data[at + name_at : at + name_at + 4], at, ends
        at = ends


def _webp(data: bytes) -> bytes:
    for _ in _chunks(data, 12, "<I", 0, "WebP"):
        pass
    if data[12:16] != b"VP8X" or data[20] & _ANIMATED_WITH_ALPHA != _ANIMATED:
        return data
    # Or the reader would paint black around a frame that is smaller than the canvas.
    return data[:20] + bytes([data[20] | _ANIMATED_WITH_ALPHA]) + data[21:]


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the head of a WebP, whose reader takes memory for them before it says how large they are."""
    kind, content = data[12:16], data[20:30]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(content[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(content[6:8], "little") & 0x3FFF, int.from_bytes(content[8:10], "little") & 0x3FFF
    return None


def _gif(data: bytes) -> bytes:
    """The blocks before the first picture, which stand in extensions."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    blocks = 0
    while at < len(data) and data[at] != 0x2C:
        if data[at] != 0x21:  # a reader looks on, byte by byte, for what it knows
            at += 1
            blocks += 1
        else:
            at += 2
            while length := data[at]:
                at += length + 1
                blocks += 1
                if blocks > MAX_BLOCKS:
                    break
            at += 1
            blocks += 1
        if blocks > MAX_BLOCKS:
            _too_many("GIF", "blocks before its first picture", MAX_BLOCKS)
    return data


def _bmp(data: bytes) -> bytes:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    if header_bytes >= 40:
        width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
        if compression in (1, 2) and abs(width * height) > MAX_RLE_PIXELS:
            _too_many("BMP", "pixels for one that is run-length coded", MAX_RLE_PIXELS)
    return data


_WIDTH, _HEIGHT, _STRIP_OFFSETS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS = 256, 257, 273, 322, 323, 324
_INNER_DIRECTORIES: Final = frozenset({34_665, 34_853, 40_965})
"""EXIF, GPS and interoperability, which Pillow reads with the picture."""


def _tiff(data: bytes) -> bytes:
    counts: dict[int, int] = {}
    values: dict[int, int] = {}
    for index, (tag, _, count, value) in enumerate(tiff_entries(data, MAX_ENTRIES + 1)):
        if index == MAX_ENTRIES:
            _too_many("TIFF", "directory entries", MAX_ENTRIES)
        counts.setdefault(tag, count)
        values.setdefault(tag, value)
    for tag in _INNER_DIRECTORIES & values.keys():
        if sum(1 for _ in tiff_entries(data, MAX_ENTRIES + 1, values[tag])) > MAX_ENTRIES:
            _too_many("TIFF", "directory entries", MAX_ENTRIES)
    for tag, what in ((_STRIP_OFFSETS, "strips"), (_TILE_OFFSETS, "tiles")):
        if counts.get(tag, 0) > MAX_STRIPS:
            _too_many("TIFF", what, MAX_STRIPS)
    most = 2 * values.get(_WIDTH, 0) * values.get(_HEIGHT, 0) + SPARED_TILE_PIXELS
    if values.get(_TILE_WIDTH, 0) * values.get(_TILE_HEIGHT, 0) > most:
        _too_many("TIFF", "pixels in a tile", most)
    return data


def tiff_entries(data: bytes, most: int, at: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count and the value field of the first `most` entries of the directory at `at`, or of the first one.

    A value of one SHORT or LONG is read; of others, which stand elsewhere, the field is their place.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    if at is None:
        (at,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)
    if at >= len(data):  # an offset of 64 bits would not fit into what reads numbers here
        return
    (entries,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, at)
    at += 8 if big else 2
    form = struct.Struct(f"{order}HHQQ" if big else f"{order}HHII")
    for index in range(min(entries, most)):
        place = at + index * form.size
        if place + form.size > len(data):
            return
        tag, kind, count, value = form.unpack_from(data, place)
        if kind == 3 and count == 1:
            (value,) = struct.unpack_from(f"{order}H", data, place + form.size - (8 if big else 4))
        yield tag, kind, count, value


_CHECKS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
}
