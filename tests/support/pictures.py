"""One small picture and the files that hold it, for the tests and for `make_vectors.py`."""

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.support.images import encode

Pixels = NDArray[np.uint8]

WIDTH: Final = 16
HEIGHT: Final = 12


def picture() -> Pixels:
    """A smooth RGB picture [12, 16, 3] that differs from each of its turns and mirrors."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 15 + 10, y * 19 + 20, (x + y) * 7 + 30], axis=-1).astype(np.uint8)


def noise(height: int, width: int) -> Image.Image:
    """Noise does not compress: a cut anywhere in the file cuts pixels."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = value
    return exif


def animation(format_name: str) -> bytes:
    """A red frame, then a green one."""
    red, green = (Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "lime"))
    return encode(red, format_name, save_all=True, append_images=[green])


def ycck(pixels: Pixels) -> bytes:
    """A CMYK JPEG as Photoshop writes it: luma and chroma of the inks, black apart, Adobe transform 2."""
    luma = np.asarray(Image.fromarray(255 - pixels).convert("YCbCr"))
    planes = [Image.fromarray(255 - luma[..., band]) for band in range(3)]
    black = Image.new("L", planes[0].size, 0)
    data = bytearray(encode(Image.merge("CMYK", [*planes, black]), "JPEG", quality=98, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size: tuple[int, int], bits: int, colour_type: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG of kinds that Pillow does not write. `rows` are packed, each with its filter byte."""
    header = struct.pack(">IIBBBBB", *size, bits, colour_type, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows, 9)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_rows(samples: NDArray[np.uint16]) -> bytes:
    """Rows of 16-bit samples [height, width] or [height, width, channels] for `png`."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)


def patch_tiff(data: bytes, tag: int, value: int) -> bytes:
    """Put another value into a one-number tag of a little-endian TIFF, be it a SHORT or a LONG."""
    kind = 3 if struct.pack("<HHI", tag, 3, 1) in data else 4
    entry = data.index(struct.pack("<HHI", tag, kind, 1))
    return data[: entry + 8] + struct.pack("<I", value) + data[entry + 12 :]


def bitmap(
    header_bytes: int, pixels: Pixels, masks: tuple[int, int, int, int] = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
) -> bytes:
    """A BMP of 32 bits with masks, as a header of version 3 to 5 has them, from pixels [height, width, 4 bytes]."""
    body = pixels.tobytes()
    height, width = pixels.shape[:2]
    fields = struct.pack("<IiiHHIIiiII", header_bytes, width, -height, 1, 32, 3, len(body), 0, 0, 0, 0)
    header = (fields + struct.pack("<IIII", *masks)).ljust(header_bytes, b"\0")
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + body


def placed_gif(screen: tuple[int, int], frame: tuple[int, int], at: tuple[int, int], background: int = 0) -> bytes:
    """Of one frame, all in colour 1 (200, 40, 30), with other colours as 0, 2 and 3."""
    palette = bytes([0, 0, 250, 200, 40, 30, 0, 250, 0, 9, 9, 9])
    image = Image.new("P", frame, 1)
    image.putpalette(palette)
    whole = encode(image, "GIF", optimize=False)
    colours = 3 * (2 << (whole[10] & 7))
    descriptor = whole.index(b",", 13 + colours)
    assert not whole[descriptor + 9] & 0x80
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, background, 0) + palette
    return head + b"," + struct.pack("<HHHHB", *at, *frame, 0) + whole[descriptor + 10 :]


def hidden_png(default: Image.Image, frame: Image.Image, at: tuple[int, int]) -> bytes:
    """A default picture, which no browser that plays animations shows, and then the animation."""
    whole, moving = encode(default, "PNG"), encode(frame, "PNG")
    rows = moving[moving.index(b"IDAT") + 4 : moving.index(b"IEND") - 8]
    control = struct.pack(">IIIIIHHBB", 0, *frame.size, *at, 1, 10, 0, 0)
    end = whole.index(b"IEND") - 4
    start = whole.index(b"IDAT") - 4
    animation = png_chunk(b"fcTL", control) + png_chunk(b"fdAT", struct.pack(">I", 1) + rows)
    return whole[:start] + png_chunk(b"acTL", struct.pack(">II", 1, 0)) + whole[start:end] + animation + whole[end:]


def srgb_profile() -> bytes:
    """Pillow's own, without its date of creation."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def swapped_profile() -> bytes:
    """A valid RGB profile whose red and blue primaries have changed places."""
    profile = srgb_profile().replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    return profile.replace(b"rXYZ", b"tmpX", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmpX", b"bXYZ", 1)


def named_profile(profile: bytes, name: str) -> bytes:
    """The same with another description."""
    text = name.encode("utf-16-be")
    data = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    entry = profile.index(b"desc")
    grown = profile + bytes(-len(profile) % 4)
    place = struct.pack(">II", len(grown), len(data))
    grown = grown[: entry + 4] + place + grown[entry + 12 :] + data + bytes(-len(data) % 4)
    return struct.pack(">I", len(grown)) + grown[4:]


def linear_grey_profile() -> bytes:
    """A grey profile with gamma 1: middle grey 128 is much lighter in sRGB (188)."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 7) + b"linear\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">I", 0),
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += padded
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + table + body
