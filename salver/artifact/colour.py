"""A loaded image of any mode to opaque 8-bit sRGB."""

import functools
import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from salver.artifact.bounds.structure import MAX_BLOCK_BYTES
from salver.artifact.errors import UnsupportedImage

Colour = tuple[int, int, int]

BAND_PIXELS: Final = 2**20
_PROFILE_SPACES: Final = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}
_ROUNDING: Final = 3
"""Levels. Profiles of sRGB with tables or rounded primaries move colours by up to so much, Display P3 by 60."""
_BITS_PER_SAMPLE: Final = 258
_PHOTOMETRIC: Final = 262
_WHITE_IS_ZERO: Final = 0


def scale_transparent_sample(image: Image.Image) -> None:
    """Bring PNG's transparent colour (tRNS) to 8 bits, where Pillow scales the pixels only. Before loading."""
    key = image.info.get("transparency")
    if not isinstance(image, PngImageFile) or not image.tile:
        return
    rawmode = image.tile[0].args
    if rawmode == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(sample >> 8 for sample in key)
    elif rawmode in ("L;2", "L;4") and isinstance(key, int):
        image.info["transparency"] = key * (85 if rawmode == "L;2" else 17)


def to_srgb(image: Image.Image, background: Colour) -> Image.Image:
    """Mode RGB: 16 bits scaled, the embedded profile applied, then transparency laid over `background` (sRGB).

    Large images are converted in bands of rows, so that the steps in between take no memory worth speaking of.
    Raises UnsupportedImage for pixels of 32 bits.
    """
    if isinstance(image.info.get("transparency"), str):
        del image.info["transparency"]  # a text chunk that happens to have this name: Pillow keeps both in one place
    if image.mode == "F":
        raise UnsupportedImage("Float pixels are not supported: save the image with 8 or 16 bits a channel.")
    if image.mode == "I":
        raise UnsupportedImage(
            "Signed or 32-bit integer pixels are not supported: save the image with 8 or 16 bits a channel."
        )
    profile = image.info.get("icc_profile")
    if image.mode == "RGB" and "transparency" not in image.info and profile is None:
        return image
    scale = _scale_of(image)
    rows = max(1, BAND_PIXELS // image.width)
    if rows >= image.height:
        return _band_to_srgb(image, scale, background)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_band_to_srgb(band, scale, background), (0, top))
    return whole


def _band_to_srgb(image: Image.Image, scale: tuple[int, bool], background: Colour) -> Image.Image:
    profile = image.info.get("icc_profile")
    base, alpha = _split_alpha(_scale_16_bits(image, scale) if image.mode.startswith("I;16") else image)
    rgb = _to_rgb(base, profile)
    if alpha is None:
        return rgb
    opaque = Image.new("RGB", rgb.size, background)
    opaque.paste(rgb, mask=alpha)
    return opaque


def _scale_of(image: Image.Image) -> tuple[int, bool]:
    """The largest value of 16-bit grey, and whether 0 is white."""
    if not isinstance(image, TiffImageFile):
        return 65535, False
    largest = 4095 if image.tag_v2.get(_BITS_PER_SAMPLE) == (12,) else 65535
    return largest, image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _scale_16_bits(image: Image.Image, scale: tuple[int, bool]) -> Image.Image:
    """L or, with a transparent grey value, LA: each value times 255 over its range, rounded."""
    largest, white_is_zero = scale
    values = np.asarray(image)
    scaled = ((np.multiply(values, 255, dtype=np.uint32) + largest // 2) // largest).astype(np.uint8)
    grey = Image.fromarray(255 - scaled if white_is_zero else scaled)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours without alpha (L, RGB, CMYK, LAB or YCbCr), and alpha (L) where there is any."""
    if image.mode in ("LA", "La"):
        grey = image if image.mode == "LA" else image.convert("LA")
        return grey.getchannel("L"), grey.getchannel("A")
    if image.mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    if image.mode in ("L", "RGB", "CMYK", "LAB", "YCbCr"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _to_rgb(image: Image.Image, profile: object) -> Image.Image:
    if isinstance(profile, bytes) and len(profile) <= MAX_BLOCK_BYTES:
        transform = _transform(profile, image.mode)
        if transform is not None:
            return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile to sRGB; None where it changes nothing, is broken, or belongs to another kind of pixels."""
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _PROFILE_SPACES.get(mode):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """What is sRGB moves no colour by more than its own rounding. Its name says nothing: programs give any."""
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, len(steps), 3)
    moved = np.asarray(transform.apply(Image.fromarray(colours)), np.int16)
    return bool(np.abs(moved - colours).max() <= _ROUNDING)
