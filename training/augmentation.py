"""Augmentation by name: changes to training images that leave the label as it is."""

from typing import Literal, get_args

import torch
from torchvision.transforms import v2

from training.errors import SettingError

Preset = Literal["none", "light", "trivial", "randaugment"]
PRESETS: tuple[Preset, ...] = get_args(Preset)


def pipeline(preset: str) -> v2.Transform:
    """A transform of a PIL image or of uint8 pixels [..., 3, height, width] that keeps type and shape.

    `light`: mirrored with probability one half, turned by up to 10 degrees, moved by up to 5 %, up to 10 % larger, and
    another brightness, contrast and saturation. `trivial`: one operation of a random strength (S. Müller, F. Hutter,
    "TrivialAugment", ICCV 2021). `randaugment`: two operations (E. Cubuk et al., "RandAugment", NeurIPS 2020). Random
    numbers come from torch's global generator. Raises SettingError for another name.
    """
    bilinear = v2.InterpolationMode.BILINEAR
    if preset == "none":
        return v2.Identity()
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


def seeded(transform: v2.Transform, image: object, seed: int) -> object:
    """What `transform` makes of `image` with the random numbers of `seed`, torch's own left where they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        changed: object = transform(image)
    return changed
