"""How familiarity does: false alarms on labelled photos, and the share of foreign ones that is rejected."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.artifact.scores import is_foreign
from salver.text import printable
from training.dataset.collection import collect
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.errors import DatasetError
from training.evaluation.intervals import proportion
from training.evaluation.model_file import ModelFile
from training.evaluation.predictions import Predictions
from training.evaluation.schema import Familiarity, Foreign
from training.progress import Progress, Silent


def familiarity(evaluation: Predictions) -> Familiarity | None:
    """None for a model without familiarity, and for a classifier before its export, which sets the threshold."""
    found = evaluation.model.manifest.familiarity if evaluation.model else None
    foreign = evaluation.foreign
    if found is None or foreign is None or evaluation.familiarity is None:
        return None
    return Familiarity(
        threshold=found.threshold,
        max_false_alarms=found.max_false_alarms,
        reached=found.reached,
        photos=found.photos,
        false_alarms=proportion(int(foreign.sum()), len(foreign), ""),
        unknown=int(np.isnan(evaluation.familiarity).sum()),
    )


def foreign_share(model: ModelFile | Path | str, folder: Path | str, progress: Progress | None = None) -> Foreign:
    """What share of the images in `folder`, at any depth and with or without labels, the model file calls foreign.

    Raises SettingError for a file that is no model or has no familiarity, and DatasetError for a folder without images
    or with some that cannot be read.
    """
    file = model if isinstance(model, ModelFile) else ModelFile.read(Path(model))
    file.check_output("familiarity")
    known = file.manifest.familiarity
    assert known is not None
    images = foreign_images(folder)
    answers = file.answers(Dataset(images, ()), ("familiarity",), progress or Silent())
    values: NDArray[np.float32] = answers["familiarity"]
    rejected = sum(is_foreign(value, known.threshold) for value in values.tolist())
    return Foreign(folder=printable(str(folder)), images=len(images), rejected=proportion(rejected, len(images), ""))


def foreign_images(folder: Path | str) -> tuple[LabelledImage, ...]:
    """Those with labels and those without. Raises DatasetError for a folder without images."""
    found = collect(Path(folder))
    images = (*found.images, *found.unlabelled)
    if not images:
        raise DatasetError(f"{printable(str(folder))} has no images. Name a folder of photos that are foreign.")
    return images
