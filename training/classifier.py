"""A net, its labels and its pixels: fine-tune it, evaluate it, export it."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from artifact.manifest import Manifest, PixelSpec
from training import loop
from training.allocator import keep_large_blocks
from training.dataset import Dataset
from training.device import Device, make_accelerator
from training.errors import DatasetError, SettingError
from training.evaluation import Evaluation
from training.export import TrainedOn, export
from training.history import Epoch, History
from training.images import PixelImages, ordered_loader, shuffled_loader
from training.nets import MIN_IMAGE_SIDE, PixelNet, build_net
from training.progress import Progress, Silent
from training.schedule import check_schedule, default_schedule

Resize = Literal["crop", "pad", "stretch"]
MAX_IMAGE_SIDE = 3584
"""Pixels; with `crop` the shorter side is then 4096, the most that a manifest takes."""


class Classifier:
    """`base` with a fresh last layer for `labels`; the same `seed` gives the same net.

    `image_size` is in pixels, a side or (height, width), from 64 up. `weights` is "imagenet", "offline", "none" or the
    path of a state_dict. Raises SettingError and WeightsError.
    """

    def __init__(
        self,
        base: str,
        labels: Sequence[str],
        image_size: int | tuple[int, int] = 224,
        weights: str = "imagenet",
        seed: int = 0,
        resize: Resize = "crop",
        device: Device = "auto",
    ) -> None:
        self.labels = tuple(labels)
        self.pixels = pixel_spec(image_size, resize)
        self.history: History | None = None
        self._accelerator = make_accelerator(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = PixelNet(build_net(base, len(self.labels), weights))
        self.net = net.to(self._accelerator.device).to(memory_format=torch.channels_last)
        self._trained_on: TrainedOn | None = None
        self._validation: Dataset | None = None

    def fit(
        self,
        train: Dataset,
        eval_dataset: Dataset | None = None,
        learning_rates: Sequence[float] | None = None,
        *,
        batch_size: int = 32,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        flip: bool = True,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> History:
        """Fine-tune all layers by stochastic gradient descent, one epoch for each of `learning_rates`.

        `flip` mirrors half of the training images left to right. The same seed on the same machine gives the same
        weights. Raises DatasetError before the first epoch when an image cannot be read, and SettingError for
        settings that cannot work.
        """
        rates = default_schedule() if learning_rates is None else check_schedule(learning_rates)
        progress = progress or Silent()
        accelerator = self._accelerator
        if accelerator.device.type == "cpu":
            keep_large_blocks()
        order, flips = (torch.Generator().manual_seed(number) for number in (seed, seed + 1))
        images = PixelImages(train, self.labels, self.pixels, progress)
        watched = PixelImages(eval_dataset, self.labels, self.pixels, progress) if eval_dataset else None
        self._trained_on = TrainedOn(train.fingerprint(), train.counts(), seed)
        self._validation = eval_dataset
        sgd = torch.optim.SGD(self.net.parameters(), lr=rates[0], momentum=momentum, weight_decay=weight_decay)
        net, sgd, minibatches = accelerator.prepare(self.net, sgd, shuffled_loader(images, batch_size, order))

        progress.begin("training", len(images) * len(rates))
        epochs: list[Epoch] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # for dropout
            for number, rate in enumerate(rates, 1):
                start = time.perf_counter()
                loop.set_rate(sgd, rate)
                means = loop.train_one_epoch(net, minibatches, sgd, accelerator, progress, flips if flip else None)
                speed = len(images) / (time.perf_counter() - start)
                accuracy = self._evaluate(watched).accuracy if watched else None
                seconds = time.perf_counter() - start
                epochs.append(Epoch(number, rate, means.loss, means.accuracy, accuracy, speed, seconds))
                progress.report(f"{epochs[-1]}  {_remaining(epochs, len(rates))}")
        accelerator.free_memory()
        self.history = History(tuple(epochs))
        return self.history

    def evaluate(self, dataset: Dataset) -> Evaluation:
        """See `training.evaluation.evaluate`."""
        if not len(dataset):
            raise DatasetError("There are no images to score. Give a data set with some.")
        result = self._evaluate(PixelImages(dataset, self.labels, self.pixels))
        self._accelerator.free_memory()  # it keeps every loader that it prepared, and with it the images
        return result

    def export(
        self, path: Path | str, validation: Dataset | None = None, metrics: Mapping[str, float] | None = None
    ) -> Manifest:
        """Write the model file, once the gate has found that it answers `validation` as this net does.

        `validation` is the data set that `fit` watched when it is None; `metrics` are further figures for the
        provenance. Raises SettingError before a fit or without images, ExportRefused when the file differs.
        """
        validation = validation or self._validation
        if self._trained_on is None or validation is None:
            raise SettingError("Call fit first, and give it or export the validation images for the gate.")
        reported = self.evaluate(validation)
        figures = {
            "validation_accuracy": reported.accuracy,
            "validation_class_averaged_accuracy": reported.class_averaged_accuracy,
        }
        return export(
            self.net, self.pixels, Path(path), self._trained_on, validation, reported, figures | dict(metrics or {})
        )

    def _evaluate(self, images: PixelImages) -> Evaluation:
        minibatches = self._accelerator.prepare(ordered_loader(images))
        logits = loop.evaluate(self.net, minibatches, self._accelerator)
        return Evaluation(self.labels, logits.numpy(), images.targets.numpy())


def pixel_spec(image_size: int | tuple[int, int], resize: Resize = "crop") -> PixelSpec:
    """With `crop` the image's shorter side first becomes 256/224 of the larger side of `image_size`.

    Raises SettingError for a side below 64 or above 3584 pixels.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not all(MIN_IMAGE_SIDE <= side <= MAX_IMAGE_SIDE for side in (height, width)):
        raise SettingError(
            f"The image size is {height} x {width}; each side is from {MIN_IMAGE_SIDE} to {MAX_IMAGE_SIDE} pixels."
        )
    shorter_side = round(max(height, width) * 256 / 224) if resize == "crop" else None
    return PixelSpec(height=height, width=width, resize=resize, shorter_side=shorter_side)


def _remaining(epochs: Sequence[Epoch], total: int) -> str:
    seconds = sum(epoch.seconds for epoch in epochs) / len(epochs) * (total - len(epochs))
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"
