"""Feature vectors: what a net's backbone gives for an image, computed once and kept by the image's content."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from salver.artifact.manifest import PixelSpec
from salver.system.cache import Cache
from training.dataset.dataset import Dataset
from training.errors import DatasetError
from training.fit.loop import infer
from training.fit.minibatches import Minibatches
from training.nets.linear import cross_validated_accuracy
from training.nets.nets import PixelNet
from training.progress import Progress

NAME = "features"
"""Of the cache in the user's folder."""


def extract(
    net: PixelNet,
    dataset: Dataset,
    spec: PixelSpec,
    accelerator: Accelerator,
    *,
    cache: Path | None,
    progress: Progress,
) -> Tensor:
    """The vectors before the last layer, float32 [images, width], of the net as it was loaded.

    Raises DatasetError, listing every image that cannot be read.
    """
    keys = _keys(net, dataset, spec)
    with Cache(cache) if cache else Cache.of_user(NAME) as kept:
        vectors = {key: np.frombuffer(value, np.float32) for key, value in kept.get(list(keys.values())).items()}
        fresh = [image for image in dataset.images if keys[image.sha256] not in vectors]
        if fresh:
            progress.begin(f"features, {spec.resize}", len(fresh))
            images = Minibatches(Dataset(tuple(fresh), dataset.labels), dataset.labels, spec, decode_now=False)
            try:
                computed = infer(net.eval().features, images, accelerator, progress).numpy()
            except DatasetError:
                Minibatches(dataset, dataset.labels, spec)  # which names them all
                raise
            own = {keys[image.sha256]: vector for image, vector in zip(fresh, computed, strict=True)}
            vectors |= own
            if accelerator.is_main_process:
                kept.put({key: vector.tobytes() for key, vector in own.items()})
                if not kept.lasts:
                    progress.report("The feature cache cannot be written: the next run computes the features again.")
    return torch.from_numpy(np.stack([vectors[keys[image.sha256]] for image in dataset.images]))


def at_hand(net: PixelNet, dataset: Dataset, spec: PixelSpec, *, cache: Path | None) -> Tensor | None:
    """What `extract` gives where it has been computed already, also once the net has learnt; else None."""
    keys = _keys(net, dataset, spec)
    with Cache(cache) if cache else Cache.of_user(NAME) as kept:
        vectors = kept.get(list(keys.values()))
    if len(vectors) < len(keys):
        return None
    return torch.from_numpy(
        np.stack([np.frombuffer(vectors[keys[image.sha256]], np.float32) for image in dataset.images])
    )


def _keys(net: PixelNet, dataset: Dataset, spec: PixelSpec) -> dict[str, bytes]:
    """Of the cache, by the images' digests."""
    net_key = hashlib.sha256(f"{net.net.base} {net.net.weights} {spec.model_dump_json()}".encode()).digest()
    return {image.sha256: net_key + bytes.fromhex(image.sha256) for image in dataset.images}


def choose_resize(
    net: PixelNet,
    dataset: Dataset,
    specs: Sequence[PixelSpec],
    accelerator: Accelerator,
    *,
    cache: Path | None,
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
