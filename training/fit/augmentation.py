"""Augmentation by name: changes to training images that leave the label as it is, at training time or as files."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from salver.artifact.manifest import PixelSpec
from salver.system.durable import durable
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.dataset.reading.places import refuse_inside
from training.dataset.reading.table import write_table
from training.errors import DatasetError, SettingError
from training.fit.recipe.recipe import Augmentation
from training.progress import Progress, Silent
from training.ranges import SEED

if TYPE_CHECKING:
    from torchvision.transforms import v2

WHOLE = PixelSpec(height=4096, width=4096, resize="stretch")
"""No JPEG is decoded smaller than it is."""
PRESETS: tuple[Augmentation, ...] = get_args(Augmentation)


def pipeline(preset: "str | v2.Transform") -> "v2.Transform":
    """A transform of a PIL image or of uint8 pixels [..., 3, height, width] that keeps type and shape.

    By the name of a preset; a transform of one's own is given back.

    `flip`: mirrored left to right with probability one half. `light`: that, turned by up to 10 degrees, moved by up to
    5 %, up to 10 % larger, and another brightness, contrast and saturation. `trivial`: one operation of a random
    strength (S. Müller, F. Hutter, "TrivialAugment", ICCV 2021). `randaugment`: two operations (E. Cubuk et al.,
    "RandAugment", NeurIPS 2020). Random numbers come from torch's global generator. Raises SettingError for another
    name.
    """
    if not isinstance(preset, str):
        return preset
    from torchvision.transforms import v2  # not above: it imports torch's compiler, 0.8 s of a core

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


def seeded(transform: "v2.Transform", image: object, seed: int) -> object:
    """What `transform` makes of `image` with the random numbers of `seed`, torch's own left where they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        changed: object = transform(image)
    return changed


def augment(
    dataset: Dataset,
    pipelines: "Sequence[str | v2.Transform] | str",
    copies: int = 1,
    *,
    out: Path | str,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """`dataset` and, of each image, `copies` results of each pipeline.

    A pipeline takes and gives a PIL image, or is the name of a preset, such as "light". The results are written to
    OUT/LABEL/NAME-DIGEST-pPIPELINE-cCOPY.jpg, and OUT/augmented.csv says which image each is made from; so does
    `source`, by which a split keeps them together. The same seed gives the same pictures. The images themselves are
    left as they are.

    Raises DatasetError for a validation or test part, an image that cannot be decoded, and a pipeline that gives no
    picture; SettingError for an unknown preset, a seed out of range and an `out` that lies in the data set.
    """
    SEED.check(seed)
    transforms = [pipeline(each) for each in ([pipelines] if isinstance(pipelines, str) else pipelines)]
    if dataset.part in ("validation", "test"):
        raise DatasetError(
            f"This is the {dataset.part} part: figures of augmented images say nothing. Augment the training part."
        )
    if dataset.part is None and any(image.part not in (None, "train") for image in dataset.images):
        raise DatasetError("The folders of this set are parts of a split. Augment its training part: parts()['train'].")
    out, progress = Path(out), progress or Silent()
    if dataset.root is not None:
        refuse_inside(dataset.root, out, "The folder for augmented images")
    progress.begin("augmenting", len(dataset) * len(transforms) * copies)
    made: list[LabelledImage] = []
    for image in dataset.images:
        original = image.decode(WHOLE)
        for number, transform in enumerate(transforms):
            for copy in range(copies):
                made.append(_write(image, original, transform, place=(number, copy), out=out, seed=seed))
                progress.advance(1)
    rows = ((image.name, image.label, image.source) for image in made)
    write_table(out / "augmented.csv", ("path", "label", "source"), rows)
    return replace(dataset, images=(*dataset.images, *made))


def _write(
    image: LabelledImage,
    original: Image.Image,
    transform: "v2.Transform",
    *,
    place: tuple[int, int],
    out: Path,
    seed: int,
) -> LabelledImage:
    number, copy = place
    draw = hashlib.sha256(f"{seed} {number} {copy} {image.sha256}".encode()).digest()
    changed = seeded(transform, original, int.from_bytes(draw[:8]) >> 1)
    if not isinstance(changed, Image.Image):
        raise DatasetError(
            f"Pipeline {number} gives a {type(changed).__name__}, not a PIL image: end it with v2.ToPILImage()."
        )
    # The digest keeps images apart that have one name in two folders.
    name = f"{image.label}/{Path(image.name).stem}-{image.sha256[:8]}-p{number}-c{copy}.jpg"
    with durable(out / name) as partial:
        changed.convert("RGB").save(partial, "JPEG", quality=95, subsampling=0)
    return LabelledImage(out / name, image.label, name, source=image.name)
