"""The images that a model is tested on: a folder, or a part of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from salver.text import counted, printable
from training.dataset.collection import collect
from training.dataset.dataset import Dataset, Part
from training.dataset.reading.folder import natural_order
from training.dataset.split.fingerprints import Known
from training.errors import DatasetError

Wanted = Part | Literal["all"]
_USED: dict[Part, str] = {"train": "trained on", "validation": "watched", "test": "tested on"}
"""What a run did with the photos of each part."""


@dataclass(frozen=True)
class TestSet:
    """What is to be scored, and the folder that it was taken from."""

    __test__ = False  # pytest would take it for tests

    scored: Dataset
    """Its notes say how it was chosen."""
    folder: Dataset


def read_test_set(
    folder: Path,
    split: Path | None = None,
    part: Wanted | None = None,
    *,
    known: Known | None = None,
    usual: Part = "test",
) -> TestSet:
    """The images of `folder`, or those of one part: as `split` puts them, or else the folders where they are parts, or
    else as `known` has them, the photos of the model's run.

    Where nothing is asked for, it is the part `usual`; by `known` this is all that is in no other part, so that photos
    which are new to the model stay in. Unlike a set to train on it may lack labels, and even have one alone. Raises
    DatasetError, also for a part that nothing tells or that has no images.
    """
    if split is not None:
        return _by_file(folder, split, part or usual)
    found = collect(folder)
    if not found.images:
        raise DatasetError(f"{folder} has no labelled images: it needs one folder of images for each label.")
    labels = sorted({image.label for image in found.images}, key=natural_order)
    dataset = Dataset(found.images, tuple(labels), found.ignored, found.left_out, found.all_notes(), root=folder)
    if part == "all":
        return TestSet(dataset, dataset)
    if dataset.parts():
        return TestSet(_by_folders(dataset, part or usual), dataset)
    if known is not None:
        return TestSet(_of_part(dataset, part, known) if part else _unused(dataset, usual, known), dataset)
    if part is not None:
        raise DatasetError(
            f"Nothing tells which photos of {folder} are the part '{part}': it has no folders for parts, and the model "
            "file keeps no fingerprints of its photos. Name the run's split file with --split, or leave --part out."
        )
    return TestSet(dataset, dataset)


def _by_file(folder: Path, split: Path, part: Wanted) -> TestSet:
    if part == "all":
        raise DatasetError("With --part all there is nothing to --split. Leave one of them out.")
    dataset = Dataset.from_dir(folder)
    parts = dataset.read_split(split)
    if part not in parts:
        raise DatasetError(f"{split} puts no image into the part '{part}'.")
    notes = (*dataset.notes, f"these are the part '{part}' of {split}")
    return TestSet(replace(parts[part], notes=notes), dataset)


def _by_folders(dataset: Dataset, part: Part) -> Dataset:
    given = dataset.parts()
    if part not in given:
        raise DatasetError(
            f"{dataset.root} has folders for {' and '.join(given)}, and none for {part}. Name one with --part, or a "
            "folder of photos alone."
        )
    return replace(given[part], notes=(*dataset.notes, f"these are the images of the part '{part}'"))


def _of_part(dataset: Dataset, part: Part, known: Known) -> Dataset:
    images = tuple(image for image in dataset.images if known.part(image) == part)
    if not images:
        raise DatasetError(
            f"By their content none of the {counted(len(dataset), 'photo')} in {dataset.root} was in the part '{part}' "
            "of the model's run."
        )
    return replace(dataset, images=images, part=part)


def _unused(dataset: Dataset, usual: Part, known: Known) -> Dataset:
    """Without the photos that the run had in another part than `usual`."""
    places = [known.part(image) for image in dataset.images]
    used = [what for part, what in _USED.items() if part != usual and part in places]
    if not used:
        return dataset
    images = tuple(image for image, place in zip(dataset.images, places, strict=True) if place in (None, usual))
    if not images:
        raise DatasetError(
            f"Each of the {counted(len(dataset), 'photo')} in {printable(str(dataset.root))} was {' or '.join(used)} "
            "in the model's run, so that figures from them say nothing of other photos. Name others, or take these "
            "with --part all."
        )
    neither = f"neither {' nor '.join(used)}" if len(used) > 1 else f"not {used[0]}"
    note = f"taken are the {len(images)} of {len(dataset)} photos that were {neither}; --part all takes all of them"
    return replace(dataset, images=images, notes=(*dataset.notes, note))
