"""The images that a model is tested on: a folder, or one part of it."""

from pathlib import Path

from training.collection import collect
from training.dataset import Dataset, Part
from training.errors import DatasetError
from training.folder import natural_order
from training.split_file import read_split


def read_test_set(folder: Path, split: Path | None, part: Part) -> Dataset:
    """The images of `folder`, or those that `split` puts into `part`.

    Unlike a set to train on it may lack labels, and even have one alone. Raises DatasetError.
    """
    if split is not None:
        parts = read_split(split, Dataset.from_dir(folder))
        if part not in parts:
            raise DatasetError(f"{split} puts no image into the part '{part}'.")
        return parts[part]
    found = collect(folder)
    if not found.images:
        raise DatasetError(f"{folder} has no labelled images: it needs one folder of images for each label.")
    labels = sorted({image.label for image in found.images}, key=natural_order)
    return Dataset(found.images, tuple(labels), found.ignored, found.left_out)
