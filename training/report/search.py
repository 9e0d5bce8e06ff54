"""The labelled photos that are nearest to one photo, by the features of a model file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from salver.system.cache import Cache
from salver.text import counted, printable
from training.dataset.collection import collect
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.errors import DatasetError
from training.evaluation.model_file import ModelFile
from training.progress import Progress, Silent
from training.ranges import NEAREST

CACHE = "features"
"""That of `training.fit.features.vectors`: keys of other files and nets are other keys."""


@dataclass(frozen=True)
class Near:
    """A labelled photo near the one that was searched for."""

    image: LabelledImage
    cosine: float
    """Of the two feature vectors, from -1 to 1."""
    copy: bool
    """Whether its file has the same content."""


def search(
    model: ModelFile | Path | str,
    photo: Path | str,
    data: Dataset | Path | str,
    count: int = 10,
    progress: Progress | None = None,
    *,
    cache: Path | None = None,
) -> tuple[Near, ...]:
    """The `count` labelled photos of `data`, a data set or its folder, that are nearest to `photo`, the nearest first.

    Copies of the photo are among them, and come first. Features are kept in the user's cache folder, or the file
    `cache`, by the model file's content and the photo's, so that another file never meets them. Photos whose features
    are zero or no numbers are near to nothing, and left out.

    Raises SettingError for a file that is no model or has no features, DatasetError for a folder without labelled
    photos, a photo that cannot be read, or one whose own features are zero or no numbers.
    """
    NEAREST.check(count)
    progress = progress or Silent()
    file = model if isinstance(model, ModelFile) else ModelFile.read(Path(model))
    file.check_output("features")
    wanted = LabelledImage(Path(photo), "")
    images = data.images if isinstance(data, Dataset) else collect(Path(data)).images
    if not images:
        place = "The data set" if isinstance(data, Dataset) else printable(str(data))
        raise DatasetError(f"{place} has no labelled photos: it needs a folder of photos for each label.")
    with Cache(cache) if cache else Cache.of_user(CACHE) as kept:
        (own,) = _unit(_features(file, [wanted], kept, Silent()))
        if not np.isfinite(own).all():
            raise DatasetError(f"The features of {printable(wanted.path)} are zero or no numbers: nothing is near it.")
        vectors = _unit(_features(file, images, kept, progress))
    good = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    if len(good) < len(images):
        progress.report(f"{counted(len(images) - len(good), 'photo')} left out: the features are zero or no numbers")
    index = faiss.IndexFlatIP(vectors.shape[1])  # exact: every vector is looked at
    index.add(vectors[good])
    cosines, places = index.search(own[None], min(count, len(good)))
    found = [
        Near(images[good[place]], float(np.clip(cosine, -1, 1)), images[good[place]].sha256 == wanted.sha256)
        for cosine, place in zip(cosines[0].tolist(), places[0].tolist(), strict=True)
    ]
    return tuple(sorted(found, key=lambda near: (not near.copy, -near.cosine, near.image.name)))


def _features(file: ModelFile, images: Sequence[LabelledImage], kept: Cache, progress: Progress) -> NDArray[np.float32]:
    """[images, width]; only what the cache lacks is computed. Raises DatasetError, which lists unreadable images."""
    keys = {image.sha256: bytes.fromhex(file.sha256) + bytes.fromhex(image.sha256) for image in images}
    vectors = {key: np.frombuffer(value, np.float32) for key, value in kept.get(list(keys.values())).items()}
    fresh = {keys[image.sha256]: image for image in images if keys[image.sha256] not in vectors}
    if fresh:
        computed = file.answers(Dataset(tuple(fresh.values()), ()), ("features",), progress)["features"]
        own = dict(zip(fresh, computed, strict=True))
        vectors |= own
        kept.put({key: vector.tobytes() for key, vector in own.items()})
        if not kept.lasts:
            progress.report("The feature cache cannot be written: the next search computes the features again.")
    return np.stack([vectors[keys[image.sha256]] for image in images])


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector at length 1; not a number where it is zero or not finite. By its largest number first, so that no
    square overflows.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = features / np.abs(features).max(axis=1, keepdims=True)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        return np.asarray(scaled / lengths, np.float32)
