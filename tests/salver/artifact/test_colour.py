import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from salver.artifact.errors import UnsupportedImage
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode, to_pixels
from tests.support.images import encode
from tests.support.pictures import (
    Pixels,
    linear_grey_profile,
    patch_tiff,
    picture,
    png,
    png_chunk,
    png_rows,
    srgb_profile,
    swapped_profile,
    ycck,
)

SPEC = PixelSpec(height=12, width=16, resize="stretch")


def read(data: bytes, spec: PixelSpec = SPEC) -> Pixels:
    return to_pixels(decode(data, spec), spec)


def difference(first: Pixels, second: Pixels) -> int:
    return int(np.abs(first.astype(int) - second).max())


def test_im03_a_cmyk_and_a_ycck_jpeg_give_their_rgb_twins_colours() -> None:
    solid = np.tile(np.array([200, 30, 40], np.uint8), (12, 16, 1))
    cmyk = encode(Image.fromarray(solid).convert("CMYK"), "JPEG")
    for data in (cmyk, ycck(solid)):
        assert difference(read(data), solid) <= 6


def test_im04_16_bit_grey_keeps_its_range() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (16, 1))
    spec = PixelSpec(height=16, width=256, resize="stretch")
    big_endian = Image.frombytes("I;16B", (256, 16), ramp.astype(">u2").tobytes())
    for data in (encode(Image.fromarray(ramp), "PNG"), encode(big_endian, "TIFF")):
        pixels = read(data, spec)
        assert len(np.unique(pixels)) >= 250
        assert (pixels == 255).mean() < 0.02
        assert (pixels[..., 0] == np.round(ramp * 255.0 / 65535)).all()


def test_im04_float_and_32_bit_pixels_are_refused_with_what_to_do() -> None:
    for mode, reason in (("F", "Float pixels are not supported"), ("I", "32-bit integer pixels are not supported")):
        with pytest.raises(UnsupportedImage, match=f"{reason}: save the image with 8 or 16 bits"):
            read(encode(Image.new(mode, (16, 12), 1), "TIFF"))


def test_12_bit_grey_is_scaled_by_4095() -> None:
    packed = Image.frombytes("L", (24, 12), b"\x80\x0f\xff" * 96)  # 0x800, 0xfff twice in three bytes
    data = patch_tiff(patch_tiff(encode(packed, "TIFF"), 258, 12), 256, 16)
    assert (read(data)[:, ::2] == 128).all()
    assert (read(data)[:, 1::2] == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_im05_transparent_pixels_show_the_background(mode: str) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((0, 255, 0, 255), (16, 16, 48, 48))
    for background in ((255, 255, 255), (10, 20, 30)):
        spec = PixelSpec(height=64, width=64, resize="stretch", background=background)
        pixels = read(encode(image.convert(mode), "PNG"), spec)
        assert (pixels[:16] == background).all()
        assert (pixels[20:44, 20:44] == ((150, 150, 150) if mode == "LA" else (0, 255, 0))).all()


def test_transparency_is_laid_over_the_background_before_any_resizing() -> None:
    """Resizing first would bleed the hidden black of transparent pixels into the edge."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (16, 16, 48, 48))
    spec = PixelSpec(height=17, width=17, resize="stretch")
    assert (read(encode(image, "PNG"), spec) == 255).all()


@pytest.mark.parametrize(("mode", "premultiplied"), [("RGBA", "RGBa"), ("LA", "La")])
def test_premultiplied_alpha_is_divided_out_first(mode: str, premultiplied: str) -> None:
    straight = Image.new("RGBA", (16, 12), (200, 200, 200, 128)).convert(mode)
    stored = Image.frombytes(mode, straight.size, straight.convert(premultiplied).tobytes())
    associated = patch_tiff(encode(stored, "TIFF"), 338, 1)
    assert difference(read(associated), read(encode(straight, "PNG"))) <= 2


def test_one_transparent_colour_of_a_png_shows_the_background() -> None:
    pixels = picture()
    key = pixels[3, 4]
    expected = np.where((pixels == key).all(axis=-1, keepdims=True), 255, pixels)
    assert (read(encode(Image.fromarray(pixels), "PNG", transparency=tuple(key.tolist()))) == expected).all()
    deep = png(
        (16, 12),
        16,
        2,
        png_rows(pixels.astype(np.uint16) * 257),
        png_chunk(b"tRNS", (key.astype(">u2") * 257).tobytes()),
    )
    assert (read(deep) == expected).all()
    grey = Image.fromarray(pixels[..., 0])
    expected_grey = np.where(pixels[..., 0] == 10, 255, pixels[..., 0])
    assert (read(encode(grey, "PNG", transparency=10))[..., 0] == expected_grey).all()
    indexed = grey.convert("P")
    assert (read(encode(indexed, "PNG", transparency=10))[:, 0] == 255).all()
    assert (read(encode(indexed, "GIF", transparency=10))[:, 0] == 255).all()
    bilevel = Image.new("1", (16, 12), 0)
    assert (read(encode(bilevel, "PNG", transparency=0)) == 255).all()


def test_lab_becomes_srgb() -> None:
    grey = np.full((12, 16, 3), 120, np.uint8)
    grey[:, 8:] = (150, 110, 100)
    assert difference(read(encode(Image.fromarray(grey).convert("LAB"), "TIFF")), grey) <= 3


@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_an_embedded_profile_is_applied(name: str) -> None:
    """The profile's red and blue primaries are swapped, so the colours must be too."""
    solid = Image.new("RGB", (16, 12), (200, 120, 40))
    pixels = read(encode(solid, name, icc_profile=swapped_profile()))
    assert difference(pixels, np.tile(np.array([40, 120, 200], np.uint8), (12, 16, 1))) <= 6


def test_alpha_survives_the_profile() -> None:
    image = Image.new("RGBA", (16, 12), (200, 120, 40, 255))
    image.paste((0, 0, 0, 0), (0, 0, 8, 12))
    pixels = read(encode(image, "PNG", icc_profile=swapped_profile()))
    assert (pixels[:, :8] == 255).all()
    assert difference(pixels[:, 8:], np.tile(np.array([40, 120, 200], np.uint8), (12, 8, 1))) <= 2


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_applied_to_grey(mode: str) -> None:
    """Linear 128/255 is 188 in sRGB."""
    image = Image.new("L", (16, 12), 128).convert(mode)
    assert difference(read(encode(image, "PNG", icc_profile=linear_grey_profile())), np.full((12, 16, 3), 188)) <= 1


@pytest.mark.parametrize("profile", [srgb_profile(), b"not a profile", srgb_profile()[:200], linear_grey_profile()])
def test_a_profile_that_is_srgb_or_unusable_or_of_another_kind_changes_nothing(profile: bytes) -> None:
    assert (read(encode(Image.fromarray(picture()), "PNG", icc_profile=profile)) == picture()).all()


def test_text_chunks_named_like_pillows_own_entries_change_nothing() -> None:
    text = PngInfo()
    for name in ("icc_profile", "transparency", "xmp", "exif"):
        text.add_text(name, "hello")
    for mode in ("RGB", "P", "L"):
        image = Image.fromarray(picture()).convert(mode)
        assert (read(encode(image, "PNG", pnginfo=text)) == np.asarray(image.convert("RGB"))).all()


def test_the_decoded_image_carries_no_profile_or_orientation_that_could_be_applied_again() -> None:
    decoded = decode(encode(Image.fromarray(picture()), "PNG", icc_profile=swapped_profile()), SPEC)
    assert not decoded.info
