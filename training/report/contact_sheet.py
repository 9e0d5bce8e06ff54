"""A contact sheet: images of a data set, or what augmentation makes of them, to look at before training."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image, ImageDraw
from torchvision.transforms import v2

from salver.artifact.manifest import PixelSpec
from salver.system.durable import durable
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.dataset.reading.places import refuse_inside
from training.fit.augmentation import pipeline, seeded
from training.ranges import SEED

SIDE, GAP, CAPTION = 128, 4, 16
SMALL = PixelSpec(height=SIDE, width=SIDE, shorter_side=SIDE)
COLUMNS = 8
"""The image itself and seven of what the pipeline makes of it, or eight images of a label."""
ROWS = 12


def write_sheet(path: Path, dataset: Dataset, changes: str | v2.Transform, seed: int = 0) -> None:
    """`contact_sheet` as a PNG. Raises DatasetError, SettingError for a path in the data set, and OSError."""
    if dataset.root is not None:
        refuse_inside(dataset.root, path, "The contact sheet")
    sheet = contact_sheet(dataset, changes, seed)
    with durable(path) as partial:
        sheet.save(partial, "PNG")


def contact_sheet(dataset: Dataset, changes: str | v2.Transform | None = None, seed: int = 0) -> Image.Image:
    """A picture with a row for each of the first 12 labels; with `changes`, for each of 12 images, labels by turns.

    `changes` is a pipeline that takes and gives a PIL image, or the name of a preset of augmentation, such as "light".
    Raises DatasetError when an image cannot be read, SettingError for a seed out of range or an unknown preset.
    """
    SEED.check(seed)
    if changes is None:
        of_label = [[image for image in dataset.images if image.label == label] for label in dataset.labels[:ROWS]]
        rows = {f"{group[0].label}: {len(group)}": map(_small, group[:COLUMNS]) for group in of_label if group}
        return _drawn(rows)
    transform = pipeline(changes)
    images = enumerate(_one_of_each(dataset))
    return _drawn(
        {f"{image.label}: {image.name}": _row(image, transform, seed + row * COLUMNS) for row, image in images}
    )


def _drawn(rows: Mapping[str, Iterable[Image.Image]]) -> Image.Image:
    """The pictures of each row under its caption."""
    step = SIDE + GAP
    sheet = Image.new("RGB", (COLUMNS * step + GAP, len(rows) * (step + CAPTION) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (caption, pictures) in enumerate(rows.items()):
        top = GAP + row * (step + CAPTION)
        draw.text((GAP, top), caption, "black")
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (GAP + column * step, top + CAPTION))
    return sheet


def _one_of_each(dataset: Dataset) -> list[LabelledImage]:
    """The first image of each label, then the second, until the sheet is full."""
    by_label = [[image for image in dataset.images if image.label == label] for label in dataset.labels]
    depth = max(map(len, by_label))
    turns = [group[turn] for turn in range(depth) for group in by_label if turn < len(group)]
    return turns[:ROWS]


def _row(image: LabelledImage, transform: v2.Transform, seed: int) -> list[Image.Image]:
    original = _small(image)
    changed = [seeded(transform, original, seed + number) for number in range(COLUMNS - 1)]
    return [original, *(picture for picture in changed if isinstance(picture, Image.Image))]


def _small(image: LabelledImage) -> Image.Image:
    return Image.fromarray(image.pixels(SMALL))
