"""Batches on one device: buffers bound once for every batch size, and the largest size that is worth it."""

import logging
import time
from collections.abc import Sequence
from typing import Self

import numpy as np
import onnxruntime as ort

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME
from salver.artifact.test_card import card_pixels, check_card
from salver.text import counted
from service.errors import ScoringError
from service.scoring.device import CPU, LARGEST_BATCH, RUN_ERRORS
from service.scoring.model import Model, Pixels
from service.scoring.outcome import LOGITS, Batch, Wanted

log = logging.getLogger("salver.service")

ENOUGH = 0.95
"""The largest batch is the smallest one that gives this part of the most images a second."""
TIMED_RUNS = 5


class Bucket:
    """One batch size: its pixels, logits and what is counted on the device, allocated and bound once."""

    def __init__(self, model: Model, size: int) -> None:
        device = "cpu" if model.provider == CPU else "cuda"
        spec, shapes = model.manifest.pixels, model.manifest.outputs
        self.size = size
        self._host = np.zeros((size, spec.height, spec.width, 3), np.uint8)
        self._pixels = ort.OrtValue.ortvalue_from_shape_and_type(self._host.shape, np.uint8, device)
        self._values = {
            name: ort.OrtValue.ortvalue_from_shape_and_type((size, *shapes[name]), np.float32, device)
            for name in LOGITS | model.counted
        }
        self._session = model.session
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(INPUT_NAME, self._pixels)
        for name, values in self._values.items():
            self._binding.bind_ortvalue_output(name, values)

    def run(self, images: Sequence[Pixels], options: ort.RunOptions | None = None) -> Batch:
        """Logits and what is counted of at most `size` images; the rest of the batch is padding."""
        np.stack(images, out=self._host[: len(images)])
        self._pixels.update_inplace(self._host)
        self._binding.synchronize_inputs()
        self._session.run_with_iobinding(self._binding, options)
        # Copied, because on a CPU it is the very memory that the next batch writes to.
        return {name: np.array(values.numpy()[: len(images)]) for name, values in self._values.items()}


class Runner:
    """Runs batches of up to `largest` images on a model's session, from one thread.

    A batch is padded to the next power of two, so that the device sees few shapes: each is tuned, allocated and
    compared with the model's test card at start and never again.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._buckets: dict[int, Bucket] = {}

    @classmethod
    def warmed(cls, model: Model, limit: int = LARGEST_BATCH) -> Self:
        """A runner with all its batch sizes, up to the largest that is worth it, fits and is at most `limit`.

        Raises ModelFileError when not even one image can be run, or when the test card's logits are wrong.
        """
        while True:
            runner = cls(model)
            try:
                runner._grow(limit)
            except RUN_ERRORS as error:
                reason = " ".join(str(error).split())[:400]
                if not runner._buckets:
                    raise ModelFileError(f"The model cannot be run on {model.provider}: {reason}") from error
                log.warning("batches of %d images cannot be run: %s", 2 * runner.largest, reason)
                # From the start, because an allocator that ran out once may no longer hold what it held before.
                limit = runner.largest
            else:
                return runner

    @property
    def largest(self) -> int:
        """Most images in a batch."""
        return max(self._buckets)

    def run(self, images: Sequence[Pixels], wanted: Wanted = LOGITS, options: ort.RunOptions | None = None) -> Batch:
        """The wanted outputs and those that are counted, float32 [images, …] each, of 1 to `largest` images, uint8
        [height, width, 3] each.

        Only the logits and what is counted have buffers that are bound once. Raises ScoringError `inference-failed`.
        """
        size = 1 << (len(images) - 1).bit_length()
        try:
            if wanted <= LOGITS | self._model.counted:
                return self._buckets[size].run(images, options)
            padded = np.stack([*images, *[images[-1]] * (size - len(images))])
            batch = self._model.run(padded, wanted | self._model.counted, options=options)
            return {name: values[: len(images)] for name, values in batch.items()}
        except RUN_ERRORS as error:
            log.warning("a batch of %s failed: %s", counted(len(images), "image"), " ".join(str(error).split())[:400])
            raise ScoringError("inference-failed", "The model could not be run on this image.") from error

    def _grow(self, limit: int) -> None:
        """Make and measure all batch sizes, then drop those that are larger than they need be.

        Not ended at the first size that gains nothing: one disturbed timing would decide for the process's life.
        """
        images_per_second: dict[int, float] = {}
        size = 1
        while size <= limit:
            bucket = self.bucket(size)
            images_per_second[size] = size / self.seconds(bucket)
            self._buckets[size] = bucket
            size *= 2
        enough = ENOUGH * max(images_per_second.values())
        largest = min(size for size, speed in images_per_second.items() if speed >= enough)
        self._buckets = {size: bucket for size, bucket in self._buckets.items() if size <= largest}

    def bucket(self, size: int) -> Bucket:
        """A bucket that has given the test card's logits at every place of the batch."""
        bucket = Bucket(self._model, size)
        for logits in bucket.run([card_pixels(self._model.manifest)] * size)[OUTPUT_NAME]:
            check_card(self._model.manifest, logits)
        return bucket

    def seconds(self, bucket: Bucket) -> float:
        """The shortest of a few runs."""
        images = [card_pixels(self._model.manifest)] * bucket.size
        seconds = []
        for _ in range(TIMED_RUNS):
            began = time.perf_counter()
            bucket.run(images)
            seconds.append(time.perf_counter() - began)
        return min(seconds)
