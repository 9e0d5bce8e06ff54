"""Maps: what a net's blocks before the last ones give for a few views of each photo, computed once and kept."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from salver.artifact.manifest import PixelSpec
from training.fit.augmentation import augmented
from training.fit.loop import infer
from training.fit.minibatches import Minibatch, Minibatches, generator
from training.fit.recipe.recipe import Augmentation
from training.nets.nets import PixelNet
from training.progress import Progress

MAPS_BYTES = 2 * 2**30
"""Of all views of all photos: 3,500 photos for MobileNetV2 at 224 pixels and 8 views, 330 for ResNet-50."""
LEAST_VIEWS = 2


class Maps:
    """What the blocks before the last ones give for views of each photo, float32 [views, images, …].

    The first view is the photo as it is, the others are changed as `augmentation` says.
    """

    def __init__(self, maps: Tensor, targets: Tensor, places: Tensor | None = None) -> None:
        """Of the photos at those `places` of the maps, int64 [images], or all of them; targets are theirs alone."""
        self._maps = maps
        self._places = torch.arange(len(targets)) if places is None else places
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def changed(self, parts: Iterable[tuple[Sequence[int], Tensor]], _: Augmentation) -> Iterator[Minibatch]:
        """For each photo of a part the view that its number in the part's draws chooses."""
        for indices, draws in parts:
            chosen = list(indices)
            yield Minibatch(self._maps[draws % len(self._maps), self._places[chosen]], self.targets[chosen])

    def unchanged(self, indices: Tensor) -> Tensor:
        """The first views, [batch, …]."""
        return self._maps[0, self._places[indices]]

    def of(self, indices: NDArray[np.int64]) -> "Maps":
        """Of these photos alone, without a copy."""
        chosen = torch.from_numpy(indices)
        return Maps(self._maps, self.targets[chosen], self._places[chosen])


def views_that_fit(net: PixelNet, spec: PixelSpec, photos: int, wanted: int) -> int:
    """How many of the `wanted` views of so many photos MAPS_BYTES can hold."""
    with torch.inference_mode():
        example = torch.zeros((1, spec.height, spec.width, 3), dtype=torch.uint8, device=net.mean.device)
        one = net.eval().net.cut()[0](net.normalise(example))
    return min(wanted, int(MAPS_BYTES // (4 * one.numel() * photos)))


def keep_maps(
    net: PixelNet,
    images: Minibatches,
    views: int,
    augmentation: Augmentation,
    *,
    seed: int,
    accelerator: Accelerator,
    progress: Progress,
) -> Maps:
    """Of every image; what a view shows depends on `seed`, the number of the view and the image's place alone."""
    trunk = net.eval().net.cut()[0]
    progress.begin("maps", len(images) * views)
    shape: torch.Size | None = None

    def flat(pixels: Tensor) -> Tensor:
        nonlocal shape
        maps: Tensor = trunk(net.normalise(pixels))
        shape = maps.shape[1:]
        return maps.flatten(1)

    kept: Tensor | None = None
    for view in range(views):
        draws = torch.randint(2**62, (len(images),), generator=generator(seed, view))
        one = infer(flat, _View(images, augmentation if view else "none", draws), accelerator, progress)
        kept = torch.empty((views, *one.shape)) if kept is None else kept  # all of them stand once, and not in a list
        kept[view] = one
    assert kept is not None
    assert shape is not None
    return Maps(kept.view(views, len(images), *shape), images.targets)


@dataclass(frozen=True)
class _View:
    """The images, each changed in one way."""

    images: Minibatches
    augmentation: Augmentation
    draws: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def minibatches(self, parts: Iterable[Sequence[int]]) -> Iterator[Minibatch]:
        """The images of each part in turn."""
        parts = list(parts)
        for minibatch, indices in zip(self.images.minibatches(parts), parts, strict=True):
            pixels = augmented(minibatch.pixels, self.augmentation, self.draws[list(indices)])
            yield Minibatch(pixels, minibatch.targets)
