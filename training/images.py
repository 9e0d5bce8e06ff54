"""A data set's images as uint8 minibatches: decoded once into memory when they fit, else anew for each minibatch."""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from artifact.errors import ImageError
from artifact.manifest import PixelSpec
from artifact.pixels import decode, to_pixels
from training.dataset import Dataset, LabelledImage
from training.errors import DatasetError, SettingError
from training.progress import Progress, Silent

MEMORY_BUDGET_BYTES = 2 * 2**30
"""Decoded images up to this size stay in memory: 14,000 of 224 x 224."""


class Minibatch(NamedTuple):
    """pixels: uint8 [batch, height, width, 3]; targets: int64 [batch], indices into the labels."""

    pixels: Tensor
    targets: Tensor


class PixelImages(TorchDataset[Minibatch]):
    """The images of `dataset` as `artifact.pixels` gives them for `spec`, with targets in the order of `labels`.

    Every image is decoded here once, so an unreadable one is found before the first epoch: DatasetError then lists
    each with its reason. DatasetError also for an image whose label is not in `labels`.
    """

    def __init__(
        self,
        dataset: Dataset,
        labels: Sequence[str],
        spec: PixelSpec,
        progress: Progress | None = None,
        memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
    ) -> None:
        self._images = dataset.images
        self.spec = spec
        self.targets = torch.tensor([_index(image, labels) for image in dataset.images], dtype=torch.int64)
        shape = (len(dataset), spec.height, spec.width, 3)
        fits = math.prod(shape) <= memory_budget_bytes
        self._pixels = torch.empty(shape, dtype=torch.uint8) if fits else None
        self._decode_all(progress or Silent())

    def __len__(self) -> int:
        return len(self._images)

    def __getitems__(self, indices: Sequence[int]) -> Minibatch:
        """One minibatch; torch's DataLoader calls this instead of fetching images one by one."""
        if self._pixels is not None:
            return Minibatch(self._pixels[indices], self.targets[indices])
        arrays = [_pixels(result) for result in _decoded((self._images[index] for index in indices), self.spec)]
        return Minibatch(torch.from_numpy(np.stack(arrays)), self.targets[indices])

    def _decode_all(self, progress: Progress) -> None:
        progress.begin("decoding", len(self))
        refused: list[str] = []
        for index, result in enumerate(_decoded(self._images, self.spec)):
            if isinstance(result, DatasetError):
                refused.append(str(result))
            elif self._pixels is not None:
                self._pixels[index] = torch.from_numpy(result)
            progress.advance(1)
        if refused:
            raise DatasetError(
                f"{len(refused)} of {len(self)} images cannot be read. Mend or remove them:\n  " + "\n  ".join(refused)
            )


class ShuffledMinibatches(Sampler[list[int]]):
    """Indices of minibatches in a new random order each epoch.

    A last minibatch of one image joins the one before it: batch normalisation cannot train on a single vector.
    """

    def __init__(self, count: int, batch_size: int, generator: torch.Generator) -> None:
        if batch_size < 2:
            raise SettingError(f"The minibatch size is {batch_size}: batch normalisation needs at least 2 images.")
        self._sizes = minibatch_sizes(count, batch_size)
        self._generator = generator
        self.batch_size = batch_size  # Accelerate reads these two when it shares the minibatches out to processes.
        self.drop_last = False

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(sum(self._sizes), generator=self._generator)
        for part in torch.split(order, self._sizes):
            yield part.tolist()


def minibatch_sizes(count: int, batch_size: int) -> list[int]:
    """Full minibatches and the rest; a rest of one is merged into the minibatch before it."""
    full, rest = divmod(count, batch_size)
    if rest == 1 and full:
        return [batch_size] * (full - 1) + [batch_size + 1]
    return [batch_size] * full + [rest] * (rest > 0)


def shuffled_loader(images: PixelImages, batch_size: int, generator: torch.Generator) -> DataLoader[Minibatch]:
    """For training. No loader workers: on a CPU they take the cores from the compute, and the images are in memory."""
    sampler = ShuffledMinibatches(len(images), batch_size, generator)
    return DataLoader(images, batch_sampler=sampler, collate_fn=_as_it_is)


def ordered_loader(images: PixelImages, batch_size: int = 32) -> DataLoader[Minibatch]:
    """For evaluation: every image once, in the order of the data set."""
    return DataLoader(images, batch_size=batch_size, collate_fn=_as_it_is)


def _as_it_is(minibatch: object) -> object:
    return minibatch


def _index(image: LabelledImage, labels: Sequence[str]) -> int:
    try:
        return labels.index(image.label)
    except ValueError as error:
        raise DatasetError(
            f"{image.path} has the label '{image.label}', which is not one of the classifier's: {', '.join(labels)}."
        ) from error


def _decoded(images: Iterable[LabelledImage], spec: PixelSpec) -> Iterator[NDArray[np.uint8] | DatasetError]:
    """In order, on as many threads as torch computes with; Pillow lets go of the interpreter while it decodes."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(lambda image: _decode(image, spec), images)


def _decode(image: LabelledImage, spec: PixelSpec) -> NDArray[np.uint8] | DatasetError:
    try:
        return to_pixels(decode(image.read(), spec), spec)
    except ImageError as error:
        return DatasetError(f"{image.path}: {error}")
    except DatasetError as error:
        return error


def _pixels(result: NDArray[np.uint8] | DatasetError) -> NDArray[np.uint8]:
    if isinstance(result, DatasetError):
        raise result
    return result
