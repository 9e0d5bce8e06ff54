"""A loaded image of any mode to opaque 8-bit sRGB."""

import functools
import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from artifact.errors import UnsupportedImage

Colour = tuple[int, int, int]

_PROFILE_SPACES: Final = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}
_MAX_PROFILE_BYTES: Final = 4 * 1024**2
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

    Raises UnsupportedImage for pixels of 32 bits.
    """
    if isinstance(image.info.get("transparency"), str):
        del image.info["transparency"]  # a text chunk that happens to have this name: Pillow keeps both in one place
    base, alpha = _split_alpha(_to_8_bits(image))
    rgb = _to_rgb(base, image.info.get("icc_profile"))
    if alpha is None:
        return rgb
    opaque = Image.new("RGB", rgb.size, background)
    opaque.paste(rgb, mask=alpha)
    return opaque


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnsupportedImage("Float pixels are not supported: save the image with 8 or 16 bits a channel.")
    if image.mode == "I":
        raise UnsupportedImage(
            "Signed or 32-bit integer pixels are not supported: save the image with 8 or 16 bits a channel."
        )
    return _scale_16_bits(image) if image.mode.startswith("I;16") else image


def _scale_16_bits(image: Image.Image) -> Image.Image:
    """L or, with a transparent grey value, LA: each value times 255 over its range, rounded."""
    values = np.asarray(image)
    largest, white_is_zero = 65535, False
    if isinstance(image, TiffImageFile):
        largest = 4095 if image.tag_v2.get(_BITS_PER_SAMPLE) == (12,) else largest
        white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    scaled = ((np.multiply(values, 255, dtype=np.uint32) + largest // 2) // largest).astype(np.uint8)
    grey = Image.fromarray(255 - scaled if white_is_zero else scaled)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours without alpha (L, RGB, CMYK, LAB or YCbCr), and alpha (L) where there is any."""
    if image.mode in ("LA", "La"):
        grey = image.convert("LA")
        return grey.getchannel("L"), grey.getchannel("A")
    if image.mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    if image.mode in ("L", "RGB", "CMYK", "LAB", "YCbCr"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _to_rgb(image: Image.Image, profile: object) -> Image.Image:
    if isinstance(profile, bytes) and len(profile) <= _MAX_PROFILE_BYTES:
        transform = _transform(profile, image.mode)
        if transform is not None:
            return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile to sRGB; None where it is sRGB already, is broken, or belongs to another kind of pixels."""
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _PROFILE_SPACES.get(mode) or _is_srgb(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    description = profile.profile.profile_description or ""
    return description.startswith(("sRGB", "IEC 61966-2-1", "IEC 61966-2.1"))
