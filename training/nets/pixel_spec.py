"""How training images become the pixels of a net, by size and way of resizing."""

from typing import Literal

from salver.artifact.manifest import PixelSpec
from training.errors import SettingError
from training.nets.nets import MIN_IMAGE_SIDE

Resize = Literal["crop", "pad", "stretch"]
MAX_IMAGE_SIDE = 3584
"""Pixels; with `crop` the shorter side is then 4096, the most that a manifest takes."""


def pixel_spec(image_size: int | tuple[int, int], resize: Resize = "crop") -> PixelSpec:
    """With `crop` the image's shorter side first becomes 256/224 of the larger side of `image_size`.

    Raises SettingError for a side below 64 or above 3584 pixels.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not all(MIN_IMAGE_SIDE <= side <= MAX_IMAGE_SIDE for side in (height, width)):
        raise SettingError(
            f"The image size is {height} x {width}; each side is from {MIN_IMAGE_SIDE} to {MAX_IMAGE_SIDE} pixels."
        )
    shorter_side = round(max(height, width) * 256 / 224) if resize == "crop" else None
    return PixelSpec(height=height, width=width, resize=resize, shorter_side=shorter_side)
