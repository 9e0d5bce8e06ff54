"""A data set's images as uint8 minibatches: decoded once into memory when they fit, else anew for each minibatch."""

import hashlib
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salver.artifact.manifest import PixelSpec
from salver.system.cores import available_cores
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage, unreadable
from training.errors import DatasetError
from training.fit.augmentation import augmented
from training.fit.recipe.recipe import Augmentation
from training.progress import Progress, Silent

MEMORY_BUDGET_BYTES = 256 * 2**20
"""Decoded images up to this size stay in memory: 1,700 of 224 x 224. Decoding more of them again in each epoch costs a
few hundredths of the time that the net takes for them, and memory stays flat whatever the size of the set."""
MINIBATCHES_AHEAD = 2
DECODED_TOGETHER = 256

Decoded = NDArray[np.uint8] | DatasetError


class Minibatch(NamedTuple):
    """pixels: uint8 [batch, height, width, 3]; targets: int64 [batch], indices into the labels."""

    pixels: Tensor
    targets: Tensor


class Read(Protocol):
    """What a net answers for."""

    def __len__(self) -> int: ...

    def minibatches(self, parts: Iterable[Sequence[int]]) -> Iterator[Minibatch]:
        """The images of each part in turn."""


class Images(Protocol):
    """What a net is trained on."""

    @property
    def targets(self) -> Tensor:
        """int64 [images]"""

    def __len__(self) -> int: ...

    def changed(self, parts: Iterable[tuple[Sequence[int], Tensor]], augmentation: Augmentation) -> Iterator[Minibatch]:
        """The images of each part in turn, each changed as its number in the part's draws, int64 [batch], decides."""


class Minibatches:
    """The images of `dataset` as `salver.artifact.pixels` gives them for `spec`, with targets in the order of `labels`.

    With `decode_now` every image is decoded here once, so an unreadable one is found before the first epoch:
    DatasetError then lists each with its reason. DatasetError also for an image whose label is not in `labels`.
    """

    def __init__(
        self,
        dataset: Dataset,
        labels: Sequence[str],
        spec: PixelSpec,
        progress: Progress | None = None,
        *,
        memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
        decode_now: bool = True,
    ) -> None:
        self._images = dataset.images
        self.spec = spec
        self.targets = torch.from_numpy(dataset.targets(labels))
        shape = (len(dataset), spec.height, spec.width, 3)
        fits = decode_now and math.prod(shape) <= memory_budget_bytes
        self._pixels = torch.empty(shape, dtype=torch.uint8) if fits else None
        if decode_now:
            self._decode_all(progress or Silent())

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Sequence[int]) -> Minibatch:
        """These images, in this order."""
        (minibatch,) = self.minibatches([indices])
        return minibatch

    def minibatches(self, parts: Iterable[Sequence[int]]) -> Iterator[Minibatch]:
        """The images of each part in turn. Those that are not in memory are decoded ahead, on other threads.

        Threads, not loader processes: each waits for a process of `inspection.decoding`, which shares memory that takes
        no room in /dev/shm.
        """
        if self._pixels is not None:
            yield from (Minibatch(self._pixels[indices], self.targets[indices]) for indices in parts)
            return
        with _decoders() as pool:
            ahead: deque[tuple[Sequence[int], list[Future[Decoded]]]] = deque()
            for indices in parts:
                ahead.append((indices, [pool.submit(_decode, self._images[index], self.spec) for index in indices]))
                if len(ahead) > MINIBATCHES_AHEAD:
                    yield self._gathered(*ahead.popleft())
            while ahead:
                yield self._gathered(*ahead.popleft())

    def changed(self, parts: Iterable[tuple[Sequence[int], Tensor]], augmentation: Augmentation) -> Iterator[Minibatch]:
        """As `minibatches`, each image changed as its number in the part's draws, int64 [batch], decides."""
        parts = list(parts)
        for minibatch, (_, draws) in zip(self.minibatches([part for part, _ in parts]), parts, strict=True):
            yield Minibatch(augmented(minibatch.pixels, augmentation, draws), minibatch.targets)

    def _gathered(self, indices: Sequence[int], decoding: list[Future[Decoded]]) -> Minibatch:
        arrays = [_pixels(future.result()) for future in decoding]
        return Minibatch(torch.from_numpy(np.stack(arrays)), self.targets[indices])

    def _decode_all(self, progress: Progress) -> None:
        progress.begin("decoding", len(self))
        refused: list[str] = []
        with _decoders() as pool:
            for start in range(0, len(self), DECODED_TOGETHER):
                images = self._images[start : start + DECODED_TOGETHER]
                for index, result in enumerate(pool.map(_decode, images, [self.spec] * len(images)), start):
                    if isinstance(result, DatasetError):
                        refused.append(str(result))
                    elif self._pixels is not None:
                        self._pixels[index] = torch.from_numpy(result)
                    progress.advance(1)
        if refused:
            raise unreadable(refused, len(self))


def minibatch_sizes(count: int, batch_size: int, processes: int = 1) -> list[int]:
    """Full minibatches and the rest; a rest of one, or of less than one for each process, joins the one before it.

    Batch normalisation cannot train on a single vector, and a process without an image would hold up the others.
    """
    full, rest = divmod(count, batch_size)
    if 0 < rest < max(2, processes) and full:
        return [batch_size] * (full - 1) + [batch_size + rest]
    return [batch_size] * full + [rest] * (rest > 0)


def shuffled(count: int, batch_size: int, seed: int, epoch: int, *, processes: int = 1) -> list[list[int]]:
    """The indices of an epoch's minibatches: every image once, in an order that `seed` and `epoch` decide."""
    order = torch.randperm(count, generator=generator(seed, epoch))
    return [part.tolist() for part in torch.split(order, minibatch_sizes(count, batch_size, processes))]


def generator(*numbers: int) -> torch.Generator:
    """Random numbers that depend on these numbers alone, so that a run goes on anywhere as if it had not stopped."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _decoders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cores())


def _decode(image: LabelledImage, spec: PixelSpec) -> Decoded:
    try:
        return image.pixels(spec)
    except DatasetError as error:
        return error


def _pixels(result: Decoded) -> NDArray[np.uint8]:
    if isinstance(result, DatasetError):
        raise result
    return result
