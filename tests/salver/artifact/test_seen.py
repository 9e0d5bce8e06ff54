"""The pixels are those that a person sees: what a file claims of itself (an alpha, a default picture) is looked at."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from salver.artifact.errors import CorruptImage, UnsupportedImage
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode, to_pixels
from tests.support.images import encode
from tests.support.pictures import (
    Pixels,
    bitmap,
    hidden_png,
    named_profile,
    patch_tiff,
    placed_gif,
    srgb_profile,
    swapped_profile,
)

SPEC = PixelSpec(height=20, width=20, resize="stretch", background=(1, 2, 3))
RED = (200, 40, 30)
BACKGROUND = (1, 2, 3)


def read(data: bytes) -> Pixels:
    return to_pixels(decode(data, SPEC), SPEC)


def solid(colour: tuple[int, ...]) -> Pixels:
    return np.tile(np.array(colour, np.uint8), (20, 20, 1))


def blue_green_red(alpha: int | Pixels) -> Pixels:
    return np.dstack([solid(RED[::-1]), np.broadcast_to(np.uint8(alpha), (20, 20))])


@pytest.mark.parametrize("header_bytes", [56, 108, 124])
def test_an_alpha_of_a_bmp_that_is_0_everywhere_is_none(header_bytes: int) -> None:
    assert (read(bitmap(header_bytes, blue_green_red(0))) == solid(RED)).all()
    assert (read(bitmap(header_bytes, blue_green_red(255))) == solid(RED)).all()


@pytest.mark.parametrize(
    "masks",
    [(0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF000000, 0xFF00, 0xFF, 0xFF0000)],
)
def test_it_is_none_wherever_its_byte_stands(masks: tuple[int, int, int, int]) -> None:
    values = sum(value * (mask & -mask) for value, mask in zip(RED, masks[:3], strict=True))
    pixels = np.full((20, 20, 1), values, "<u4").view(np.uint8)
    assert (read(bitmap(124, pixels, masks)) == solid(RED)).all()


def test_an_alpha_of_a_bmp_that_somebody_set_is_one() -> None:
    alpha = np.zeros((20, 20), np.uint8)
    alpha[:, :10] = 255
    pixels = read(bitmap(124, blue_green_red(alpha)))
    assert (pixels[:, :10] == RED).all()
    assert (pixels[:, 10:] == BACKGROUND).all()
    alpha[:] = 0
    alpha[0, 0] = 1  # one pixel is enough: it was meant
    assert (read(bitmap(124, blue_green_red(alpha)))[1:] == BACKGROUND).all()


@pytest.mark.parametrize(
    ("mode", "extra_samples", "shown"),
    [
        ("RGBA", None, RED),
        ("RGBA", 0, RED),
        ("RGBA", 2, RED),
        ("RGBA", 1, BACKGROUND),  # the colours have been multiplied by it, so it was set
        ("LA", None, (90, 90, 90)),
        ("LA", 2, (90, 90, 90)),
    ],
)
def test_so_is_that_of_a_tiff(mode: str, extra_samples: int | None, shown: tuple[int, int, int]) -> None:
    colours = np.dstack([solid(RED if mode == "RGBA" else (90,)), np.zeros((20, 20), np.uint8)])
    data = encode(Image.fromarray(colours), "TIFF")
    if extra_samples is not None:
        data = patch_tiff(data, 338, extra_samples)
    assert (read(data) == solid(shown)).all()


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
def test_a_format_whose_writers_mean_their_alpha_keeps_it(name: str) -> None:
    image = Image.fromarray(np.dstack([solid(RED), np.zeros((20, 20), np.uint8)]), "RGBA")
    assert (read(encode(image, name, lossless=True, exact=True)) == BACKGROUND).all()


@pytest.mark.parametrize("background", [0, 1, 2])
def test_around_a_gifs_frame_that_is_smaller_than_its_screen_nothing_is_painted(background: int) -> None:
    """Browsers show the page there, whatever colour the file calls its background."""
    pixels = read(placed_gif((20, 20), (10, 8), (5, 6), background))
    expected = solid(BACKGROUND)
    expected[6:14, 5:15] = RED
    assert (pixels == expected).all()


def test_a_gifs_frame_as_large_as_its_screen_or_larger_is_all_that_there_is() -> None:
    assert (read(placed_gif((20, 20), (20, 20), (0, 0))) == solid(RED)).all()
    assert (read(placed_gif((5, 5), (20, 20), (0, 0))) == solid(RED)).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_the_default_picture_of_an_apng_that_is_no_part_of_its_animation_is_not_the_image(mode: str) -> None:
    hidden, seen = (Image.new("RGB", (20, 20), colour).convert(mode) for colour in ((0, 0, 250), RED))
    expected = np.asarray(seen.convert("RGB"))
    assert (read(hidden_png(hidden, seen, (0, 0))) == expected).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_nor_is_it_seen_around_a_smaller_first_frame(mode: str) -> None:
    hidden, seen = (Image.new(mode, size, colour) for size, colour in (((20, 20), (0, 0, 250)), ((10, 8), RED)))
    expected = solid(BACKGROUND)
    expected[6:14, 5:15] = RED
    assert (read(hidden_png(hidden, seen, (5, 6))) == expected).all()


def test_a_default_picture_that_begins_the_animation_is_the_image() -> None:
    first, second = (Image.new("RGB", (20, 20), colour) for colour in (RED, (0, 0, 250)))
    assert (read(encode(first, "PNG", save_all=True, append_images=[second])) == solid(RED)).all()


def test_an_apng_that_promises_an_animation_and_has_none_is_corrupt() -> None:
    hidden = Image.new("RGB", (20, 20), RED)
    whole = hidden_png(hidden, hidden, (0, 0))
    start, end = whole.index(b"fcTL") - 4, whole.index(b"IEND") - 4
    with pytest.raises(CorruptImage):
        read(whole[:start] + whole[end:])


def webp_animation(alpha: bool) -> bytes:
    """One frame of 10 x 8 at (4, 6) on a canvas of 20 x 20, which is blue for who believes the file."""
    frame = encode(Image.new("RGB", (10, 8), RED), "WEBP", lossless=True)[12:]

    def number(value: int) -> bytes:
        return struct.pack("<I", value)[:3]

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + bytes(len(data) & 1)

    head = chunk(b"VP8X", bytes([0x02 | 0x10 * alpha, 0, 0, 0]) + number(19) + number(19))
    still = number(2) + number(3) + number(9) + number(7) + number(100) + b"\0" + frame
    body = b"WEBP" + head + chunk(b"ANIM", b"\xfa\0\0\xff\0\0") + chunk(b"ANMF", still)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("alpha", [True, False])
def test_around_a_webps_frame_that_is_smaller_than_its_canvas_nothing_is_painted(alpha: bool) -> None:
    expected = solid(BACKGROUND)
    expected[6:14, 4:14] = RED
    assert (read(webp_animation(alpha)) == expected).all()


def tiff(first_is: int | None, pages: int, old: bool = False) -> bytes:
    """Pages of which the first one says that it is something (TIFF's tag 254, or 255 in old files)."""
    stream = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(stream) as writer:
        for page in range(pages):
            image = Image.new("RGB", (20, 20), RED if page == 0 else (0, 0, 250))
            tags = {255 if old else 254: first_is} if first_is is not None and page == 0 else {}
            image.save(writer, "TIFF", tiffinfo=tags)
            writer.newFrame()
    return stream.getvalue()


@pytest.mark.parametrize(("first_is", "old"), [(1, False), (4, False), (5, False), (2, True)])
def test_a_tiff_that_begins_with_a_preview_or_a_mask_of_another_picture_is_refused(first_is: int, old: bool) -> None:
    with pytest.raises(UnsupportedImage, match="preview or a mask"):
        read(tiff(first_is, 2, old))


@pytest.mark.parametrize(("first_is", "pages", "old"), [(None, 2, False), (0, 2, False), (2, 2, False), (1, 1, False)])
def test_a_tiff_that_begins_with_its_picture_is_read(first_is: int | None, pages: int, old: bool) -> None:
    assert (read(tiff(first_is, pages, old)) == solid(RED)).all()


def test_a_profile_is_known_by_what_it_does_and_not_by_its_name() -> None:
    """Red and blue are swapped by a profile that calls itself sRGB; one that is sRGB may have any name."""
    image = Image.new("RGB", (20, 20), (200, 120, 40))
    for name in ("sRGB", "sRGB IEC61966-2.1", "IEC 61966-2-1 Default RGB Colour Space - sRGB"):
        pixels = read(encode(image, "PNG", icc_profile=named_profile(swapped_profile(), name)))
        assert np.abs(pixels.astype(int) - (40, 120, 200)).max() <= 2
    for name in ("Adobe RGB (1998)", "c2", ""):
        assert (read(encode(image, "PNG", icc_profile=named_profile(srgb_profile(), name))) == (200, 120, 40)).all()


def test_the_srgb_of_lcms_is_read_over_to_the_last_bit() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), axis=-1).reshape(-1, 18, 3)
    spec = PixelSpec(height=grid.shape[0], width=18, resize="stretch")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(Image.fromarray(grid), "PNG", icc_profile=profile)
    assert (to_pixels(decode(data, spec), spec) == grid).all()
