"""A contact sheet of augmented images, to look at before training on them."""

from pathlib import Path

from PIL import Image, ImageDraw
from torchvision.transforms import v2

from artifact.errors import ImageError
from artifact.manifest import PixelSpec
from artifact.pixels import decode, to_pixels
from training.augmentation import seeded
from training.dataset import Dataset
from training.durable import durable
from training.errors import DatasetError
from training.labelled_image import LabelledImage

SIDE, GAP, CAPTION = 128, 4, 16
COLUMNS = 8
"""The image itself and seven of what the pipeline makes of it."""
ROWS = 12


def write_sheet(path: Path, dataset: Dataset, pipeline: v2.Transform, seed: int = 0) -> None:
    """A PNG with a row an image, as many labels as there is room for. Raises DatasetError and OSError."""
    images = _one_of_each(dataset)
    step = SIDE + GAP
    sheet = Image.new("RGB", (COLUMNS * step + GAP, len(images) * (step + CAPTION) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, image in enumerate(images):
        top = GAP + row * (step + CAPTION)
        draw.text((GAP, top), f"{image.label}: {image.name}", "black")
        for column, picture in enumerate(_row(image, pipeline, seed + row * COLUMNS)):
            sheet.paste(picture, (GAP + column * step, top + CAPTION))
    with durable(path) as partial:
        sheet.save(partial, "PNG")


def _one_of_each(dataset: Dataset) -> list[LabelledImage]:
    """The first image of each label, then the second, until the sheet is full."""
    by_label = [[image for image in dataset.images if image.label == label] for label in dataset.labels]
    depth = max(map(len, by_label))
    turns = [group[turn] for turn in range(depth) for group in by_label if turn < len(group)]
    return turns[:ROWS]


def _row(image: LabelledImage, pipeline: v2.Transform, seed: int) -> list[Image.Image]:
    spec = PixelSpec(height=SIDE, width=SIDE, shorter_side=SIDE)
    try:
        original = Image.fromarray(to_pixels(decode(image.read(), spec), spec))
    except ImageError as error:
        raise DatasetError(f"{image.path}: {error}") from error
    changed = [seeded(pipeline, original, seed + number) for number in range(COLUMNS - 1)]
    return [original, *(picture for picture in changed if isinstance(picture, Image.Image))]
