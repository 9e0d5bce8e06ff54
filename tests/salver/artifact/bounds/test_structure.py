"""Each guard against small files that ask for much, and beside it the honest file that it must let through."""

import io
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image, TiffImagePlugin

from salver.artifact.bounds.structure import LIGHT_BYTES, MAX_BLOCK_BYTES, checked, is_light
from salver.artifact.errors import ImageError, ImageTooLarge
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import (
    BYTES_A_PIXEL,
    BYTES_A_PIXEL_ELSE,
    COEFFICIENT_BYTES,
    Limits,
    decode,
    decode_with_header,
)
from tests.support import hostile
from tests.support.images import encode
from tests.support.pictures import noise, orientation, png_chunk, srgb_profile, swapped_profile

SPEC = PixelSpec(height=8, width=8, resize="stretch")
MEBIBYTE = 2**20
ROOT = Path(__file__).parents[4]

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans": (lambda: hostile.jpeg_of_empty_scans(500, 300), "JPEG image holds too many scans"),
    "scans of a large JPEG": (lambda: hostile.jpeg_of_empty_scans(7000, 60), "scans for its 49,000,000 pixels"),
    "segments": (lambda: hostile.jpeg_of_empty_segments(5_000), "JPEG image holds too many segments"),
    "segments between scans": (
        lambda: hostile.jpeg_of_empty_scans(64, 1)[:-2] + b"\xff\xfe\0\2" * 5_000 + b"\xff\xd9",
        "JPEG image holds too many segments",
    ),
    "bytes between segments": (
        lambda: (jpeg := hostile.jpeg_of_empty_segments(0))[:2] + b"\xff\0" * 40_000 + jpeg[2:],
        "JPEG image holds too many bytes between its segments",
    ),
    "bytes in the place of segments": (
        lambda: b"\xff\xd8\xff" + b"\0\xff" * 40_000,
        "JPEG image holds too many bytes between its segments",
    ),
    "bytes behind an end that is none": (
        lambda: b"\xff\xd8\xff\xd9" + bytes(80_000),
        "JPEG image holds too many bytes between its segments",
    ),
    "chunks": (lambda: hostile.png_of_chunks(40_000), "PNG image holds too many chunks"),
    "chunks behind the pixels": (
        lambda: hostile.png_with(png_chunk(b"teSt", b"") * 40_000, behind=True),
        "PNG image holds too many chunks",
    ),
    "pieces of pixels": (lambda: hostile.png_of_empty_idat(40_000), "PNG image holds too many chunks"),
    "WebP chunks": (lambda: hostile.webp_of_empty_chunks(40_000), "WebP image holds too many chunks"),
    "comment blocks": (lambda: hostile.gif_of_comments(70_000), "GIF image holds too many blocks"),
    "extensions": (lambda: hostile.gif_of_extensions(70_000), "GIF image holds too many blocks"),
    "bytes between extensions": (
        lambda: (gif := hostile.gif_of_comments(1))[: gif.index(b"!")] + bytes(70_000) + gif[gif.index(b"!") :],
        "GIF image holds too many blocks",
    ),
    "run-length coded pixels": (hostile.bmp_rle, "BMP image holds too many pixels for one that is run-length coded"),
    "strips": (lambda: hostile.tiff_of_strips(70_000), "TIFF image holds too many strips"),
    "a tile": (hostile.tiff_of_a_wide_tile, "TIFF image holds too many pixels in a tile"),
    "entries": (lambda: hostile.tiff_of_directory_entries(1_100), "TIFF image holds too many directory entries"),
    "BigTIFF entries": (
        lambda: hostile.tiff_of_directory_entries(1_100, big=True),
        "TIFF image holds too many directory entries",
    ),
    "entries of an inner directory": (lambda: tiff_with_inner_entries(1_100), "too many directory entries"),
}


def tiff_with_inner_entries(count: int) -> bytes:
    """Grey, 16 x 16, with an EXIF directory of so many entries."""
    inner = 8 + 2 + 9 * 12 + 4 + 256
    entries = b"".join(struct.pack("<HHII", 1000 + index, 3, 1, 1) for index in range(count))
    pixels = bytes(256)
    body = pixels + struct.pack("<H", count) + entries + bytes(4)
    return hostile.tiff_grey(16, 16, (273, 4, 1, inner - 256), (278, 4, 1, 16), (34_665, 4, 1, inner), body=body)


@pytest.mark.timed
@pytest.mark.parametrize("name", REFUSED)
def test_what_costs_more_than_its_pixels_is_counted_and_refused_before_it_is_decoded(name: str) -> None:
    make, reason = REFUSED[name]
    data = make()
    began = time.process_time()
    with pytest.raises(ImageTooLarge, match=reason) as refusal:
        decode(data, SPEC)
    assert time.process_time() - began < 0.1
    assert "the limit is" in str(refusal.value)


def progressive() -> bytes:
    return encode(noise(400, 600), "JPEG", progressive=True)


def profile_in_many_parts() -> bytes:
    """A profile of 5 MiB, which takes 81 segments and is ignored, behind which lies XMP of 2 MiB in 32 parts."""
    data = encode(noise(16, 16), "JPEG", icc_profile=srgb_profile() + bytes(5 * MEBIBYTE))
    part = b"http://ns.adobe.com/xmp/extension/\0" + bytes(64_000)
    return data[:2] + (b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part) * 32 + data[2:]


def camera_raw_thumbnails() -> bytes:
    """A megabyte of the blocks that cameras and editors leave: makers' notes, Photoshop's, a comment."""
    data = encode(noise(16, 16), "JPEG", exif=orientation(6))
    blocks = b"".join(
        b"\xff" + bytes([kind]) + struct.pack(">H", 60_002) + bytes(60_000) for kind in (0xE4, 0xED, 0xFE)
    )
    return data[:2] + blocks * 6 + data[2:]


def tall_tiff() -> bytes:
    """A strip for each of its 20,000 rows, as scanners write them."""
    image, stream = Image.new("L", (8, 20_000), 90), io.BytesIO()
    TiffImagePlugin.STRIP_SIZE, size = 8, TiffImagePlugin.STRIP_SIZE
    try:
        image.save(stream, "TIFF", compression="tiff_lzw")
    finally:
        TiffImagePlugin.STRIP_SIZE = size
    return stream.getvalue()


def gif_with_xmp() -> bytes:
    """A mebibyte of XMP, whose text a reader of blocks takes for lengths."""
    data = encode(Image.new("P", (16, 16)), "GIF")
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    at = data.index(b",")
    return data[:at] + b"!\xff\x0bXMP DataXMP" + b"<x:xmpmeta>" * 95_000 + trailer + data[at:]


HONEST: dict[str, Callable[[], bytes]] = {
    "a progressive JPEG": progressive,
    "a progressive JPEG of 48 megapixels": lambda: encode(Image.new("RGB", (8000, 6000)), "JPEG", progressive=True),
    "a profile and XMP in many segments": profile_in_many_parts,
    "a megabyte of makers' notes and editors' blocks": camera_raw_thumbnails,
    "Exif in twenty segments": lambda: hostile.jpeg_of_exif_segments(20),
    "a PNG of 20 MiB in pieces of 8 KiB": lambda: encode(noise(2300, 2900), "PNG", compress_level=0),
    "a PNG with a large text": lambda: hostile.png_with(
        png_chunk(b"tEXt", b"parameters\0" + b"a photo of a cup, " * 100_000)
    ),
    "a PNG with XMP of a mebibyte": lambda: hostile.png_with(
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x:xmpmeta>" * 100_000))
    ),
    "a PNG with packed XMP of 8 MiB, which is ignored": lambda: hostile.png_with(
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2 * MAX_BLOCK_BYTES)))
    ),
    "an animated WebP": lambda: encode(
        noise(16, 16), "WEBP", save_all=True, append_images=[noise(16, 16).rotate(90 * turn) for turn in range(20)]
    ),
    "a GIF with XMP": gif_with_xmp,
    "a TIFF with a strip for each row": tall_tiff,
    "a small TIFF in one tile of 512 x 512": lambda: tile_of(512),
    "a run-length coded BMP": lambda: hostile.bmp_rle(640, 480, (b"\xff\1\xff\2\x82\3\0\0") * 480),
    "a damaged EXIF block": lambda: hostile.with_exif("JPEG", b"Exif\0\0II*\0\xff\xff\xff\xff"),
}


def tile_of(side: int) -> bytes:
    pixels = zlib.compress(bytes(side * side))
    start = 8 + 2 + 10 * 12 + 4
    base = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tiles = [(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, start), (325, 4, 1, len(pixels))]
    return hostile.tiff([*base, *tiles], pixels)


@pytest.mark.parametrize("name", HONEST)
def test_its_honest_neighbour_is_decoded(name: str) -> None:
    decode(HONEST[name](), SPEC)


def test_most_files_are_handed_on_as_they_are() -> None:
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        data = encode(noise(16, 16), form)
        assert checked(data, {"WEBP": "WebP"}.get(form, form)) is data


def test_a_profile_of_a_png_is_applied_up_to_the_size_at_which_a_jpegs_is() -> None:
    """1.2 MiB of it were refused in a PNG, and 5 MiB scored in a JPEG."""
    red_for_blue = swapped_profile()
    for padding, applied in ((1_200_000, True), (MAX_BLOCK_BYTES, False)):
        for form in ("PNG", "JPEG"):
            image = Image.new("RGB", (8, 8), (220, 30, 60))
            data = encode(image, form, icc_profile=red_for_blue + bytes(padding))
            red, _, blue = decode(data, SPEC).resize((1, 1)).tobytes()
            assert (red < blue) is applied, (form, padding)


LIGHT: dict[str, Callable[[], bytes]] = {
    "JPEG: 250 scans": lambda: hostile.jpeg_of_empty_scans(1440, 250),
    "JPEG: progressive noise": lambda: encode(noise(1440, 1440), "JPEG", quality=60, progressive=True),
    "JPEG: 4,000 segments": lambda: hostile.jpeg_of_empty_segments(4_000),
    "JPEG: 2 MiB of Photoshop blocks": lambda: hostile.jpeg_of_photoshop_blocks(30),
    "JPEG: Exif in 30 segments": lambda: hostile.jpeg_of_exif_segments(30),
    "PNG: 16 bits, RGBA": lambda: hostile.png16(1440, 6),
    "PNG: noise of 2 MiB": lambda: encode(noise(830, 830), "PNG"),
    "PNG: 32,000 chunks": lambda: hostile.png_of_chunks(32_000),
    "PNG: 32,000 pieces of pixels": lambda: hostile.png_of_empty_idat(32_000),
    "PNG: 400 texts of XMP that unpack to 4 MiB": lambda: hostile.png_with(
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(MAX_BLOCK_BYTES), 9)) * 400
    ),
    "PNG: 400 profiles that unpack to 4 MiB": lambda: hostile.png_with(
        png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(MAX_BLOCK_BYTES), 9)) * 400
    ),
    "WebP: lossless noise": lambda: encode(noise(830, 830), "WEBP", lossless=True, quality=0, method=0),
    "WebP: two megapixels of one colour": lambda: hostile.webp_of_claims(1440, 1440),
    "WebP: 32,000 chunks": lambda: hostile.webp_of_empty_chunks(32_000),
    "WebP: overlapping EXIF": lambda: hostile.with_exif("WEBP", hostile.exif_of_entries()),
}


@pytest.mark.timed
@pytest.mark.parametrize("name", LIGHT)
def test_what_is_called_light_costs_no_more_than_a_quarter_of_a_second(name: str) -> None:
    data = LIGHT[name]()
    assert is_light(data)
    began = time.process_time()
    with suppress(ImageError):
        decode(data, SPEC)
    assert time.process_time() - began < 0.25


@pytest.mark.parametrize("form", ["GIF", "TIFF", "BMP", "AVIF"])
def test_other_formats_large_files_and_large_pictures_are_not_light(form: str) -> None:
    assert not is_light(encode(noise(16, 16), form))
    assert is_light(encode(noise(16, 16), "PNG"))
    assert not is_light(encode(noise(16, 16), "PNG") + bytes(LIGHT_BYTES))
    for large in ("JPEG", "PNG", "WEBP"):
        assert not is_light(encode(Image.new("RGB", (2000, 1100)), large))
    assert not is_light(b"")


@pytest.mark.timed
@pytest.mark.parametrize("make", [hostile.gif_of_frames, hostile.png_of_frames, hostile.tiff_of_pages])
def test_of_many_frames_or_pages_the_first_alone_is_read(make: Callable[[], bytes]) -> None:
    data = make()
    began = time.process_time()
    decode(data, SPEC)
    assert time.process_time() - began < 0.1


@pytest.mark.timed
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kind", ["next", "exif", "gps", "sub"])
def test_a_directory_that_points_back_at_itself_is_read_once(form: str, kind: str) -> None:
    began = time.process_time()
    decode(hostile.with_exif(form, hostile.exif_in_a_circle(kind)), SPEC)
    assert time.process_time() - began < 0.1


@pytest.mark.timed
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_sixty_thousand_overlapping_entries_cost_no_tenth_of_a_second(form: str) -> None:
    data = hostile.with_exif(form, hostile.exif_of_entries())
    began = time.process_time()
    decode(data, SPEC)
    assert time.process_time() - began < 0.1


def test_the_orientation_behind_sixty_thousand_entries_is_found() -> None:
    entries = [(1, 3, 1, 0)] * 60_000 + [(274, 3, 1, 6)]
    data = hostile.with_exif("PNG", b"Exif\0\0" + hostile.tiff(entries))
    assert decode_with_header(data, SPEC)[1].orientation == 6


def test_pixels_over_the_memory_that_there_is_are_refused_with_the_number_that_fits() -> None:
    limits = Limits(max_memory_bytes=17 * 10**6)
    with pytest.raises(
        ImageTooLarge, match=r"1,500 x 1,000 = 1,500,000; the limit for a WebP like this one is 1,000,000"
    ):
        decode(encode(Image.new("RGB", (1500, 1000)), "WEBP"), SPEC, limits)
    decode(encode(Image.new("RGB", (1000, 1000)), "WEBP"), SPEC, limits)
    decode(encode(Image.new("RGB", (4000, 4000)), "JPEG"), SPEC, limits)  # is decoded at an eighth
    with pytest.raises(ImageTooLarge, match="too many pixels for the memory"):
        decode(encode(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True), SPEC, limits)


PEAKS: dict[str, Callable[[], bytes]] = {
    "PNG, 16 bits, RGBA": lambda: hostile.png16(3000, 6),
    "PNG, 16 bits, RGB with a transparent colour": lambda: hostile.png16(3000, 2, transparent=True),
    "PNG, RGBA with a profile": lambda: hostile.solid("PNG", "RGBA", 3000, icc_profile=swapped_profile()),
    "GIF with a transparent colour": lambda: hostile.solid("GIF", "P", 3000, transparency=0),
    "WebP, RGBA with a profile": lambda: hostile.solid("WEBP", "RGBA", 3000, icc_profile=swapped_profile()),
    "TIFF, RGBA": lambda: hostile.solid("TIFF", "RGBA", 3000, compression="tiff_lzw", tiffinfo={274: 6}),
    "TIFF, LAB": lambda: hostile.solid("TIFF", "LAB", 3000, compression="tiff_lzw"),
    "BMP, grey": lambda: hostile.solid("BMP", "L", 3000),
    "AVIF, RGBA": lambda: hostile.avif(3000),
    "JPEG, progressive, CMYK, turned": lambda: hostile.solid(
        "JPEG", "CMYK", 3000, progressive=True, exif=orientation(6)
    ),
}
PEAK = """
import re, sys
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode

def high_water():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

spec, data = PixelSpec(height=4096, width=4096, resize="stretch"), sys.stdin.buffer.read()
before = high_water()
decode(data, spec)
print(high_water() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", PEAKS)
def test_decoding_takes_no_more_memory_a_pixel_than_the_contract_says(name: str) -> None:
    form = name.partition(",")[0].partition(" ")[0]
    ended = subprocess.run(
        [sys.executable, "-c", PEAK], input=PEAKS[name](), cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    most = BYTES_A_PIXEL.get(form, BYTES_A_PIXEL_ELSE) + (4 * COEFFICIENT_BYTES if form == "JPEG" else 0)
    assert int(ended.stdout) <= most * 3000**2 + 4 * MEBIBYTE  # the profile's own tables and a band of rows
