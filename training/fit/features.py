"""Feature vectors: what a net's backbone gives for an image, computed once and kept by the image's content."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import platformdirs
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from salver.artifact.manifest import PixelSpec
from training.dataset.dataset import Dataset
from training.dataset.inspection.cache import opened
from training.errors import DatasetError
from training.fit.loop import infer
from training.fit.minibatches import Minibatches
from training.nets.linear import cross_validated_accuracy
from training.nets.nets import PixelNet
from training.progress import Progress

LIMIT_BYTES = 2 * 2**30
"""A file above this size is begun anew: room for 400,000 vectors of MobileNetV2."""
AT_ONCE = 500
"""Keys in one query; SQLite takes 32,766."""

_SCRIPT = """CREATE TABLE IF NOT EXISTS features (net TEXT, image TEXT, vector BLOB, PRIMARY KEY (net, image))
    WITHOUT ROWID"""

Vectors = dict[str, NDArray[np.float32]]


class FeatureCache:
    """Vectors by net, pixel preparation and sha256 of the image file, in one SQLite file.

    What it cannot read or write it computes anew: it saves time and is never needed.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(platformdirs.user_cache_dir("salver")) / "features.sqlite"

    def get(self, net: str, digests: Sequence[str]) -> Vectors:
        """Those that are there."""
        found: Vectors = {}
        try:
            with closing(opened(self._path, _SCRIPT)) as database:
                for start in range(0, len(digests), AT_ONCE):
                    some = digests[start : start + AT_ONCE]
                    marks = ",".join("?" * len(some))
                    query = f"SELECT image, vector FROM features WHERE net = ? AND image IN ({marks})"  # noqa: S608
                    rows = database.execute(query, (net, *some))
                    found |= {image: np.frombuffer(vector, np.float32) for image, vector in rows}
        except (sqlite3.Error, OSError):
            return {}
        return found

    def put(self, net: str, vectors: Mapping[str, NDArray[np.float32]]) -> bool:
        """Whether they could be kept."""
        rows = [(net, image, vector.tobytes()) for image, vector in vectors.items()]
        try:
            if self._path.exists() and self._path.stat().st_size > LIMIT_BYTES:
                self._path.unlink()
            with closing(opened(self._path, _SCRIPT)) as database, database:
                database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)
        except (sqlite3.Error, OSError):
            return False
        return True


def extract(
    net: PixelNet,
    dataset: Dataset,
    spec: PixelSpec,
    accelerator: Accelerator,
    *,
    cache: FeatureCache,
    progress: Progress,
) -> Tensor:
    """The vectors before the last layer, float32 [images, width], of the net as it was loaded.

    Raises DatasetError, listing every image that cannot be read.
    """
    key = hashlib.sha256(f"{net.net.base} {net.net.weights} {spec.model_dump_json()}".encode()).hexdigest()
    digests = [image.sha256 for image in dataset.images]
    vectors = cache.get(key, digests)
    fresh = [image for image in dataset.images if image.sha256 not in vectors]
    if fresh:
        progress.begin(f"features, {spec.resize}", len(fresh))
        images = Minibatches(Dataset(tuple(fresh), dataset.labels), dataset.labels, spec, decode_now=False)
        try:
            computed = infer(net.eval().features, images, accelerator, progress).numpy()
        except DatasetError:
            Minibatches(dataset, dataset.labels, spec)  # which names them all
            raise
        own = {image.sha256: vector for image, vector in zip(fresh, computed, strict=True)}
        vectors |= own
        if accelerator.is_main_process and not cache.put(key, own):
            progress.report("The feature cache cannot be written: the next run computes the features again.")
    return torch.from_numpy(np.stack([vectors[digest] for digest in digests]))


def choose_resize(
    net: PixelNet,
    dataset: Dataset,
    specs: Sequence[PixelSpec],
    accelerator: Accelerator,
    *,
    cache: FeatureCache,
    progress: Progress,
    seed: int,
) -> PixelSpec:
    """The one under which a linear classifier of the features does best in cross-validation; the first of equals."""
    targets = torch.from_numpy(dataset.targets(dataset.labels))
    accuracies = []
    for spec in specs:
        features = extract(net, dataset, spec, accelerator, cache=cache, progress=progress)
        accuracies.append(cross_validated_accuracy(features, targets, seed))
        progress.report(f"{spec.resize}: cross-validated accuracy of the features {accuracies[-1]:.3f}")
    best = max(accuracies)
    return next(spec for spec, accuracy in zip(specs, accuracies, strict=True) if not accuracy < best)
