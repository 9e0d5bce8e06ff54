"""The images that a model is tested on: a folder, or one part of it."""

from dataclasses import replace
from pathlib import Path

from training.dataset.collection import collect
from training.dataset.dataset import Dataset, Part
from training.dataset.reading.folder import natural_order
from training.errors import DatasetError


def read_test_set(folder: Path, split: Path | None, part: Part) -> Dataset:
    """The images of `folder`, or those that `split`, or else the folders where they are parts, put into `part`.

    Unlike a set to train on it may lack labels, and even have one alone. Raises DatasetError.
    """
    if split is not None:
        dataset = Dataset.from_dir(folder)
        parts = dataset.read_split(split)
        if part not in parts:
            raise DatasetError(f"{split} puts no image into the part '{part}'.")
        return replace(parts[part], notes=(*dataset.notes, f"these are the part '{part}' of {split}"))
    found = collect(folder)
    if not found.images:
        raise DatasetError(f"{folder} has no labelled images: it needs one folder of images for each label.")
    labels = sorted({image.label for image in found.images}, key=natural_order)
    dataset = Dataset(found.images, tuple(labels), found.ignored, found.left_out, found.all_notes(), root=folder)
    given = dataset.parts()
    if not given:
        return dataset
    if part not in given:
        raise DatasetError(
            f"{folder} has folders for {' and '.join(given)}, and none for {part}. Name one with --part, or a folder "
            "of photos alone."
        )
    return replace(given[part], notes=(*dataset.notes, f"these are the images of the part '{part}'"))
