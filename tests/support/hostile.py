"""Small files that ask for far more than they hold: work, memory, or both. Each is made here, none is stored."""

import io
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Final

from PIL import Image

from tests.support.images import encode
from tests.support.pictures import animation, png_chunk

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def jpeg_of_empty_scans(side: int = 7000, scans: int = 25_000) -> bytes:
    """A grey progressive JPEG whose scans hold nothing: each is ten bytes and walks over every block."""
    data = encode(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    tables = data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda"))
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0x00, 1, 1, 0x10)
    return data[: max(start, tables)] + scan * scans + b"\xff\xd9"


def jpeg_of_empty_segments(count: int = 5_000_000) -> bytes:
    """64 x 64, behind so many APP1 segments of no bytes."""
    data = encode(Image.new("RGB", (64, 64)), "JPEG")
    return data[:2] + b"\xff\xe1\0\2" * count + data[2:]


def jpeg_of_exif_segments(count: int = 310) -> bytes:
    """Exif in so many full segments, each of which Pillow would join to those before."""
    data = encode(Image.new("RGB", (64, 64)), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 65_535) + b"Exif\0\0" + bytes(65_527)
    return data[:2] + segment * count + data[2:]


def jpeg_of_photoshop_blocks(count: int = 310) -> bytes:
    """Photoshop's segments full of its smallest blocks."""
    data = encode(Image.new("RGB", (64, 64)), "JPEG")
    content = b"Photoshop 3.0\0" + (b"8BIM" + bytes(8)) * 5_450
    segment = b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
    return data[:2] + segment * count + data[2:]


def webp_of_claims(width: int = 7000, height: int = 7000) -> bytes:
    """A lossless WebP of 38 bytes that claims so many pixels, all of one colour, which takes no bits a pixel."""
    data = bytearray(encode(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[at : at + 4], "little") >> 28 << 28 | (height - 1) << 14 | (width - 1)
    data[at : at + 4] = bits.to_bytes(4, "little")
    return bytes(data)


def webp_of_empty_chunks(count: int = 1_300_000) -> bytes:
    """A small picture, and behind it so many chunks of a kind that nobody knows."""
    picture = encode(Image.new("RGB", (16, 16)), "WEBP")[12:]
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (15).to_bytes(3, "little") * 2
    chunks = head + picture + (b"ABCD" + bytes(4)) * count
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def png16(side: int, colour_type: int, transparent: bool = False) -> bytes:
    """16 bits a sample, all the same, so that it packs a thousand to one; with a transparent colour if asked for."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    packer = zlib.compressobj(1)
    row = b"\0" + b"\x12\x34" * channels * side
    rows = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, colour_type, 0, 0, 0))
    key = png_chunk(b"tRNS", b"\x12\x34" * channels) if transparent else b""
    return PNG_SIGNATURE + header + key + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def png_with(*chunks: bytes, behind: bool = False) -> bytes:
    """A small PNG with these chunks before or behind its pixels."""
    data = encode(Image.new("RGB", (16, 16)), "PNG")
    at = data.index(b"IEND" if behind else b"IDAT") - 4
    return data[:at] + b"".join(chunks) + data[at:]


def png_of_chunks(count: int = 1_700_000) -> bytes:
    return png_with(png_chunk(b"teSt", b"") * count)


def png_of_texts(count: int = 60) -> bytes:
    """So many texts, each of which unpacks to a mebibyte."""
    return png_with(png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**20), 9)) * count)


def png_of_empty_idat(count: int = 1_700_000) -> bytes:
    return png_with(png_chunk(b"IDAT", b"") * count)


def gif_of_comments(blocks: int = 10_000_000) -> bytes:
    """16 x 16, behind one comment of so many blocks of one byte."""
    data = encode(Image.new("P", (16, 16)), "GIF")
    at = data.index(b",")
    return data[:at] + b"!\xfe" + b"\1A" * blocks + b"\0" + data[at:]


def gif_of_extensions(count: int = 4_000_000) -> bytes:
    """16 x 16, behind so many extensions of one block each."""
    data = encode(Image.new("P", (16, 16)), "GIF")
    at = data.index(b",")
    return data[:at] + b"!\x01\1A\0" * count + data[at:]


def bmp_rle(width: int = 49_000_000, height: int = 1, body: bytes = b"\2\1\0\0") -> bytes:
    """Run-length coded: Pillow pads each line that ends early byte by byte, in Python."""
    palette = bytes(1024)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    offset = 14 + 40 + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + header + palette + body


def tiff(entries: list[tuple[int, int, int, int]], body: bytes = b"", big: bool = False) -> bytes:
    """A little-endian TIFF or BigTIFF of one directory; entries are (tag, type, count, value); `body` lies behind."""
    if big:
        packed = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
        return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(entries)) + packed + bytes(8) + body
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4) + body


def tiff_grey(width: int, height: int, *entries: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    """An uncompressed grey TIFF with these entries more."""
    base = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    return tiff(sorted([*base, *entries]), body)


def tiff_of_strips(count: int = 320_000) -> bytes:
    """One column, a strip a row, all strips at the same place."""
    start = 8 + 2 + 9 * 12 + 4
    offsets = struct.pack("<I", start) * count
    return tiff_grey(1, count, (273, 4, count, start), (278, 4, 1, 1), (279, 4, count, start), body=offsets)


def tiff_of_a_wide_tile(width: int = 26_000, height: int = 26_000) -> bytes:
    """64 x 64, in one tile of hundreds of megapixels, compressed."""
    pixels = zlib.compress(bytes(64))
    start = 8 + 2 + 10 * 12 + 4
    base = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tiles = [(322, 4, 1, width), (323, 4, 1, height), (324, 4, 1, start), (325, 4, 1, len(pixels))]
    return tiff([*base, *tiles], pixels)


def tiff_of_directory_entries(count: int = 60_000, big: bool = False) -> bytes:
    """Its directory holds so many tags of their own, each of which claims the same bytes."""
    start = (16 + 8 + (count + 8) * 20 + 8) if big else (8 + 2 + (count + 8) * 12 + 4)
    own = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, start)]
    own += [(277, 3, 1, 1), (278, 4, 1, 16)]
    tags = range(1000, 65_000)
    extra = [(tags[index % len(tags)], 7, 700_000, start) for index in range(count)]
    return tiff([*own, *extra], bytes(700_000), big)


def gif_of_frames(size: int = 20_000_000) -> bytes:
    """16 x 16, as often as it goes into so many bytes: hundreds of thousands of times."""
    data = encode(Image.new("P", (16, 16)), "GIF")
    at = data.index(b",")
    frame = data[at:-1]
    return data[:at] + frame * (size // len(frame)) + b";"


def png_of_frames(count: int = 16_000) -> bytes:
    """An animation of so many frames."""
    data = animation("PNG")
    at, ends = data.index(b"fcTL", data.index(b"IDAT")) - 4, data.index(b"IEND") - 4
    return data[:at] + data[at:ends] * count + data[ends:]


def tiff_of_pages(count: int = 60_000) -> bytes:
    """A chain of so many directories of one picture."""
    start = 8 + 2 + 8 * 12 + 4
    data = tiff_grey(16, 16, (273, 4, 1, start), (278, 4, 1, 16), body=bytes(256))
    directory, size = data[8 : start - 4], start - 8
    places = [len(data) + size * page for page in range(count)]
    chain = b"".join(directory + struct.pack("<I", place) for place in [*places[1:], 0])
    return data[: start - 4] + struct.pack("<I", places[0]) + data[start:] + chain


def tiff_packed(compression: int, packed: bytes, side: int = 7000) -> bytes:
    """A grey TIFF of one strip."""
    start = 8 + 2 + 9 * 12 + 4
    base = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    strip = [(273, 4, 1, start), (277, 3, 1, 1), (278, 4, 1, side), (279, 4, 1, len(packed))]
    return tiff([*base, *strip], packed)


def exif_of_entries(count: int = 60_000, claims: int = 700_000) -> bytes:
    """An EXIF block with so many entries that each claim the same bytes, and no orientation."""
    start = 8 + 2 + count * 12 + 4
    entries = [(1000 + index % 60_000, 7, claims, start) for index in range(count)]
    return b"Exif\0\0" + tiff(entries, bytes(claims))


def exif_in_a_circle(kind: str) -> bytes:
    """A directory that points back at itself: as its next one, or as a directory inside it."""
    if kind == "next":
        return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 274, 3, 1, 1) + struct.pack("<I", 8)
    tag = {"exif": 0x8769, "gps": 0x8825, "sub": 330}[kind]
    entries = [(274, 3, 1, 1), (tag, 4, 1, 8)] if tag > 274 else [(tag, 4, 1, 8)]
    return b"Exif\0\0" + tiff(sorted(entries))


def with_exif(form: str, exif: bytes) -> bytes:
    """A small picture of that format with this EXIF block, whatever is in it."""
    if form == "JPEG":
        data = encode(Image.new("RGB", (16, 16)), "JPEG")
        parts = [exif[6:][at : at + 65_000] for at in range(0, len(exif) - 6, 65_000)]
        return (
            data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 8) + b"Exif\0\0" + p for p in parts) + data[2:]
        )
    if form == "PNG":
        return png_with(png_chunk(b"eXIf", exif[6:]))
    picture = encode(Image.new("RGB", (16, 16)), "WEBP")[12:]
    head = b"VP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + (15).to_bytes(3, "little") * 2
    block = b"EXIF" + struct.pack("<I", len(exif)) + exif + bytes(len(exif) % 2)
    chunks = head + picture + block
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def avif(side: int) -> bytes:
    return encode(Image.new("RGBA", (side, side), (200, 40, 30, 100)), "AVIF", speed=10, quality=20)


def solid(form: str, mode: str, side: int, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (side, side)).save(stream, form, **options)
    return stream.getvalue()


COSTLY: Final[dict[str, Callable[[], bytes]]] = {
    "JPEG: 25,000 empty scans of 49 megapixels": jpeg_of_empty_scans,
    "JPEG: five million empty segments": jpeg_of_empty_segments,
    "JPEG: Exif in 310 segments": jpeg_of_exif_segments,
    "JPEG: 1.7 million Photoshop blocks": jpeg_of_photoshop_blocks,
    "WebP: 49 megapixels in 38 bytes": webp_of_claims,
    "WebP: 1.3 million empty chunks": webp_of_empty_chunks,
    "PNG: 49 megapixels of 16 bits, RGB with a transparent colour": lambda: png16(7000, 2, transparent=True),
    "PNG: 49 megapixels of 16 bits, RGBA": lambda: png16(7000, 6),
    "PNG: 1.7 million empty chunks": png_of_chunks,
    "PNG: 1.7 million empty pieces of pixels": png_of_empty_idat,
    "PNG: 60 texts that unpack to a mebibyte": png_of_texts,
    "GIF: a comment of ten million blocks": gif_of_comments,
    "GIF: four million extensions": gif_of_extensions,
    "GIF: 49 megapixels with a transparent colour": lambda: solid("GIF", "P", 7000, transparency=0),
    "BMP: one run-length coded line of 49 megapixels": bmp_rle,
    "BMP: 50,000 run-length coded lines": lambda: bmp_rle(1000, 50_000, b"\1\1\0\0" * 50_000),
    "TIFF: 320,000 strips at one place": tiff_of_strips,
    "TIFF: a tile of 676 megapixels": tiff_of_a_wide_tile,
    "TIFF: 60,000 directory entries": tiff_of_directory_entries,
    "BigTIFF: 900,000 directory entries": lambda: tiff_of_directory_entries(900_000, big=True),
    "AVIF: 36 megapixels with alpha": lambda: avif(6000),
    "GIF: hundreds of thousands of frames": gif_of_frames,
    "APNG: 16,000 frames": png_of_frames,
    "TIFF: 60,000 pages": tiff_of_pages,
    "TIFF: 49 megapixels in 48 KB of deflate": lambda: tiff_packed(8, zlib.compress(bytes(49_000_000), 9)),
    "TIFF: 49 megapixels in 7 KB of LZMA": lambda: tiff_packed(34_925, lzma.compress(bytes(49_000_000))),
    "TIFF: 49 megapixels of PackBits": lambda: tiff_packed(32_773, b"\x81\0" * 400_000),
}
"""What each costs at most is measured in tests/prove/test_costs.py."""
