"""Augmentation by name: changes to training images that leave the label as it is."""

from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from training.errors import SettingError
from training.fit.recipe import Augmentation

PRESETS: tuple[Augmentation, ...] = get_args(Augmentation)


def pipeline(preset: str) -> v2.Transform:
    """A transform of a PIL image or of uint8 pixels [..., 3, height, width] that keeps type and shape.

    `flip`: mirrored left to right with probability one half. `light`: that, turned by up to 10 degrees, moved by up to
    5 %, up to 10 % larger, and another brightness, contrast and saturation. `trivial`: one operation of a random
    strength (S. Müller, F. Hutter, "TrivialAugment", ICCV 2021). `randaugment`: two operations (E. Cubuk et al.,
    "RandAugment", NeurIPS 2020). Random numbers come from torch's global generator. Raises SettingError for another
    name.
    """
    bilinear = v2.InterpolationMode.BILINEAR
    if preset == "none":
        return v2.Identity()
    if preset == "flip":
        return v2.RandomHorizontalFlip()
    if preset == "light":
        return v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(10, translate=(0.05, 0.05), scale=(1.0, 1.1), interpolation=bilinear, fill=127),
                v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            ]
        )
    if preset == "trivial":
        return v2.TrivialAugmentWide(interpolation=bilinear, fill=127)
    if preset == "randaugment":
        return v2.RandAugment(interpolation=bilinear, fill=127)
    raise SettingError(f"'{preset}' is not a preset of augmentation: take one of {', '.join(PRESETS)}.")


def augmented(pixels: Tensor, preset: Augmentation, draws: Tensor) -> Tensor:
    """uint8 [batch, height, width, 3] on the CPU, each image changed as its number in `draws`, int64 [batch], decides.

    Two milliseconds an image for `light`, one for `trivial`: the transforms are several times faster on a PIL image
    than on a tensor.
    """
    if preset == "none":
        return pixels
    if preset == "flip":  # all at once
        return torch.where((draws % 2 == 0).view(-1, 1, 1, 1), pixels.flip(2), pixels)
    transform = pipeline(preset)
    images = [
        np.asarray(seeded(transform, Image.fromarray(image.numpy()), draw))
        for image, draw in zip(pixels, draws.tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(images))


def seeded(transform: v2.Transform, image: object, seed: int) -> object:
    """What `transform` makes of `image` with the random numbers of `seed`, torch's own left where they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        changed: object = transform(image)
    return changed
