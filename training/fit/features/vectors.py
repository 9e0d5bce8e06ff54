"""Feature vectors: what a net's backbone gives for an image, computed once and kept by the image's content."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from salver.artifact.manifest import PixelSpec
from salver.system.cache import Cache
from training.dataset.dataset import Dataset
from training.errors import DatasetError
from training.fit.heads.choice import Judged
from training.fit.heads.linear import Estimator
from training.fit.heads.out_of_fold import out_of_fold, out_of_two_folds
from training.fit.loop import infer
from training.fit.minibatches import Minibatches
from training.nets.folded import folded
from training.nets.nets import PixelNet
from training.progress import Progress

NAME = "features"
"""Of the cache in the user's folder."""
FEW = 500
"""Photos up to which the figure is freed of what the choice between two ways flatters it by: it takes ten more fits a
way, which of more photos take longer than the five that are wanted."""


def extract(
    net: PixelNet,
    dataset: Dataset,
    spec: PixelSpec,
    accelerator: Accelerator,
    *,
    cache: Path | None,
    progress: Progress,
) -> Tensor:
    """The vectors before the last layer, float32 [images, width], of the net as it is.

    Raises DatasetError, listing every image that cannot be read.
    """
    net_key = hashlib.sha256(f"{net.net.base} {_weights(net)} {spec.model_dump_json()}".encode()).digest()
    keys = {image.sha256: net_key + bytes.fromhex(image.sha256) for image in dataset.images}
    with Cache(cache) if cache else Cache.of_user(NAME) as kept:
        vectors = {key: np.frombuffer(value, np.float32) for key, value in kept.get(list(keys.values())).items()}
        fresh = [image for image in dataset.images if keys[image.sha256] not in vectors]
        if fresh:
            progress.begin(f"features, {spec.resize}", len(fresh))
            images = Minibatches(Dataset(tuple(fresh), dataset.labels), dataset.labels, spec, decode_now=False)
            try:
                computed = infer(folded(net).features, images, accelerator, progress).numpy()
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


def judge(
    net: PixelNet,
    dataset: Dataset,
    specs: Sequence[PixelSpec],
    estimator: Estimator,
    folds: NDArray[np.int64],
    accelerator: Accelerator,
    *,
    cache: Path | None,
    progress: Progress,
) -> tuple[int, Judged]:
    """The number of the better of `specs`, and what a last layer of that kind answers under it for photos out of its
    fold.
    """
    targets, classes = torch.from_numpy(dataset.targets(dataset.labels)), len(dataset.labels)
    found, others = [], []
    for spec in specs:
        features = extract(net, dataset, spec, accelerator, cache=cache, progress=progress)
        found.append(out_of_fold(estimator, features, targets, classes, folds))
        if len(specs) > 1 and len(dataset) <= FEW:  # else there is nothing to choose, or it takes long
            others.append(out_of_two_folds(estimator, features, targets, classes, folds))
        if found[-1].judged.any():
            progress.report(f"{spec.resize}: the last layer alone is right on {found[-1].accuracy:.3f} out of fold")
    return Judged.of(found, others or None)


def _weights(net: PixelNet) -> str:
    """A digest of all that the features depend on: where the weights came from does not tell whether they were trained
    since. Takes a second for the 230 MB of the largest net, and 10 ms for MobileNetV2.
    """
    digest = hashlib.sha256()
    for name, tensor in net.net.backbone.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
