"""Small images in many forms, made for tests."""

import io

import numpy as np
from PIL import Image


def photo(width: int, height: int, seed: int = 0, form: str = "JPEG", mode: str = "RGB") -> bytes:
    """A file of smooth colours with a little noise, different for each seed."""
    return encode(picture(width, height, seed).convert(mode), form)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """The same as an RGB image."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return Image.fromarray((smooth + random.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8))


def solid(colour: tuple[int, int, int], width: int = 40, height: int = 40, form: str = "PNG") -> bytes:
    """A file of one colour."""
    return encode(Image.new("RGB", (width, height), colour), form)


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """The image as file bytes."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
