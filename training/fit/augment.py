"""Augmented images as files, added to a training set: what the 2018 package did before training."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image
from torchvision.transforms import v2

from salver.artifact.manifest import PixelSpec
from salver.system.durable import durable
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.dataset.reading.places import refuse_inside
from training.dataset.reading.table import write_table
from training.errors import DatasetError
from training.fit.augmentation import seeded
from training.progress import Progress, Silent
from training.ranges import SEED

WHOLE = PixelSpec(height=4096, width=4096, resize="stretch")
"""No JPEG is decoded smaller than it is."""


def augment(
    dataset: Dataset,
    pipelines: Sequence[v2.Transform],
    copies: int = 1,
    *,
    out: Path | str,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """`dataset` and, of each image, `copies` results of each pipeline, which takes and gives a PIL image.

    They are written to OUT/LABEL/NAME-DIGEST-pPIPELINE-cCOPY.jpg, and OUT/augmented.csv says which image each is made
    from; so does `source`, by which a split keeps them together. The same seed gives the same pictures. The images
    themselves are left as they are. Raises DatasetError for a validation or test part, an image that cannot be decoded,
    and a pipeline that gives no picture; SettingError for a seed out of range and an `out` that lies in the data set.
    """
    SEED.check(seed)
    if dataset.part in ("validation", "test"):
        raise DatasetError(
            f"This is the {dataset.part} part: figures of augmented images say nothing. Augment the training part."
        )
    if dataset.part is None and any(image.part not in (None, "train") for image in dataset.images):
        raise DatasetError("The folders of this set are parts of a split. Augment its training part: parts()['train'].")
    out, progress = Path(out), progress or Silent()
    if dataset.root is not None:
        refuse_inside(dataset.root, out, "The folder for augmented images")
    progress.begin("augmenting", len(dataset) * len(pipelines) * copies)
    made: list[LabelledImage] = []
    for image in dataset.images:
        original = image.decode(WHOLE)
        for number, pipeline in enumerate(pipelines):
            for copy in range(copies):
                made.append(_write(image, original, pipeline, (number, copy), out, seed))
                progress.advance(1)
    rows = ((image.name, image.label, image.source) for image in made)
    write_table(out / "augmented.csv", ("path", "label", "source"), rows)
    return replace(dataset, images=(*dataset.images, *made))


def _write(
    image: LabelledImage, original: Image.Image, pipeline: v2.Transform, place: tuple[int, int], out: Path, seed: int
) -> LabelledImage:
    number, copy = place
    draw = hashlib.sha256(f"{seed} {number} {copy} {image.sha256}".encode()).digest()
    changed = seeded(pipeline, original, int.from_bytes(draw[:8]) >> 1)
    if not isinstance(changed, Image.Image):
        raise DatasetError(
            f"Pipeline {number} gives a {type(changed).__name__}, not a PIL image: end it with v2.ToPILImage()."
        )
    # The digest keeps images apart that have one name in two folders.
    name = f"{image.label}/{Path(image.name).stem}-{image.sha256[:8]}-p{number}-c{copy}.jpg"
    with durable(out / name) as partial:
        changed.convert("RGB").save(partial, "JPEG", quality=95, subsampling=0)
    return LabelledImage(out / name, image.label, name, source=image.name)
