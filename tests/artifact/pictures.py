"""One small picture and the files that hold it, for the tests and for `make_vectors.py`."""

import io
import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

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


def encode(image: Image.Image, format_name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


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


def srgb_profile() -> bytes:
    """Pillow's own, without its date of creation."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def swapped_profile() -> bytes:
    """A valid RGB profile whose red and blue primaries have changed places."""
    profile = srgb_profile().replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    return profile.replace(b"rXYZ", b"tmpX", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmpX", b"bXYZ", 1)


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
