"""The most that one image file can cost, for each format; docs/security.md has the table."""

import os
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.bounds.structure import is_light
from salver.artifact.errors import ImageError
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import Limits
from tests.prove.test_costs import cpu_seconds
from tests.support import hostile
from tests.support.images import encode
from tests.support.pictures import noise, png_chunk, srgb_profile

Record = Callable[[str, object], None]
SPEC = PixelSpec(height=224, width=224, shorter_side=256)
MIB = 2**20


def jpeg_segments() -> bytes:
    data = encode(noise(64, 64), "JPEG")
    part = b"http://ns.adobe.com/xap/1.0/\0" + bytes(4_970)
    return data[:2] + (b"\xff\xe1" + (len(part) + 2).to_bytes(2) + part) * 4_000 + data[2:]


def png_texts() -> bytes:
    text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(4 * MIB), 9))
    return hostile.png_with(text * 16)


LARGEST: dict[str, Callable[[], bytes]] = {
    "JPEG: 49 megapixels of noise, progressive": lambda: encode(
        noise(7000, 7000), "JPEG", quality=30, progressive=True
    ),
    "JPEG: 40 scans of 49 megapixels": lambda: hostile.jpeg_of_empty_scans(7000, 40),
    "JPEG: 250 scans of nine megapixels": lambda: hostile.jpeg_of_empty_scans(3000, 250),
    "JPEG: 4,000 segments of 5,000 bytes": jpeg_segments,
    "PNG: 6 megapixels of noise with a profile": lambda: encode(noise(2500, 2600), "PNG", icc_profile=srgb_profile()),
    "PNG: 49 megapixels of one colour, RGBA with a profile": lambda: hostile.solid(
        "PNG", "RGBA", 7000, icc_profile=srgb_profile(), compress_level=1
    ),
    "PNG: 32,000 pieces of pixels": lambda: hostile.png_of_empty_idat(32_000),
    "PNG: a text of 4 MiB in each of 16 chunks": png_texts,
    "GIF: 65,000 comment blocks": lambda: hostile.gif_of_comments(65_000),
    "WebP: 12 megapixels of noise, lossless": lambda: encode(
        noise(2600, 2600), "WEBP", lossless=True, quality=0, method=0
    ),
    "WebP: 49 megapixels of one colour": hostile.webp_of_claims,
    "WebP: 32,000 chunks": lambda: hostile.webp_of_empty_chunks(32_000),
    "TIFF: 65,000 strips at one place": lambda: hostile.tiff_of_strips(65_000),
    "TIFF: 1,000 directory entries": lambda: hostile.tiff_of_directory_entries(1_000),
    "BMP: ten megapixels, run-length coded in lines that end at once": lambda: hostile.bmp_rle(
        1000, 10_000, b"\1\1\0\0" * 10_000
    ),
    "BMP: ten megapixels in deltas": lambda: hostile.bmp_rle(1000, 10_000, b"\0\2\1\0" * 5_000_000),
    "AVIF: 16 megapixels of noise": lambda: encode(noise(4000, 4000), "AVIF", speed=10, quality=30),
}
"""As large as a file of the kind may be."""


def peak_bytes(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.prove
@pytest.mark.parametrize("name", [*LARGEST, *hostile.COSTLY])
def test_no_file_costs_more_than_three_seconds_and_what_the_page_states(name: str, record_property: Record) -> None:
    data = (LARGEST | hostile.COSTLY)[name]()
    limits = Limits()
    assert len(data) <= limits.max_bytes
    with Decoders(limits) as decoders:
        decoders.pixels(encode(noise(64, 64), "TIFF"), SPEC)
        pid = os.getpid() if is_light(data) else decoders._idle[0]._pid
        before, used, own = peak_bytes(pid), cpu_seconds(pid), time.process_time()
        try:
            decoders.pixels(data, SPEC)
            outcome = "scored"
        except ImageError as error:
            outcome = str(error).partition(":")[0]
        own = time.process_time() - own
        ended = not decoders._idle
        used = limits.max_cpu_seconds if ended else cpu_seconds(pid) - used
        mebibytes = 0.0 if ended else (peak_bytes(pid) - before) / MIB
    record_property("tried", f"{name}: {len(data):,} bytes, {used:.2f} s of CPU, {mebibytes:.0f} MiB: {outcome}")
    record_property("lost", "nothing")
    assert used <= limits.max_cpu_seconds + 0.1
    assert mebibytes * MIB <= limits.max_memory_bytes
    assert own < (0.25 if is_light(data) else 0.1), "the process that asks has work, too"
