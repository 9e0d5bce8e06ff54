"""The bounded queue and the scoring threads: encoded images in, logits or errors out, in the same order."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from artifact.pixels import Limits, decode, to_pixels
from service.errors import ScoringError, attempt
from service.model import Logits, Model
from service.request import image_bytes

RETRY_AFTER_SECONDS = 1

Encoded = str | bytes
"""An image as it came: base64 text, or file bytes."""
Outcome = Logits | ScoringError
"""What becomes of one image: float32 logits [classes], or its error."""


class _Job:
    """The images of one request; threads take them one by one. Changed only under the scorer's lock."""

    def __init__(self, images: Sequence[Encoded], done: Callable[[], object]) -> None:
        self.images = images
        self.outcomes: dict[int, Outcome] = {}
        self.begun = 0
        self.done = done
        self.abandoned = False


class Scorer:
    """As many threads as cores, each decoding and scoring one image at a time on one model copy.

    Requests take turns image by image, so that a list of 64 does not hold up a single image behind it.
    """

    def __init__(self, model: Model, threads: int, max_queue_images: int, limits: Limits) -> None:
        self._model = model
        self._limits = limits
        self._max_queue_images = max_queue_images
        self._jobs: deque[_Job] = deque()
        self._images = 0  # waiting or being scored
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, name=f"scorer-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    async def score(self, images: Sequence[Encoded]) -> list[Outcome]:
        """Score the images of one request. Raises ScoringError `overloaded` when the queue cannot take them all.

        Cancelling it takes those that have not begun out of the queue.
        """
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        job = _Job(images, lambda: loop.call_soon_threadsafe(finished.set))
        self._enqueue(job)
        try:
            await finished.wait()
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        return [job.outcomes[index] for index in range(len(images))]

    def close(self) -> None:
        """End the threads once each has finished its image."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enqueue(self, job: _Job) -> None:
        with self._changed:
            if self._images + len(job.images) > self._max_queue_images:
                raise ScoringError(
                    "overloaded",
                    f"{self._images} images are waiting and the limit is {self._max_queue_images}: try again later.",
                    {"Retry-After": str(RETRY_AFTER_SECONDS)},
                )
            self._images += len(job.images)
            self._jobs.append(job)
            self._changed.notify(len(job.images))

    def _abandon(self, job: _Job) -> None:
        with self._changed:
            job.abandoned = True
            if job in self._jobs:
                self._jobs.remove(job)
                self._images -= len(job.images) - job.begun

    def _take(self) -> tuple[_Job, int, bool] | None:
        """The next image of the request whose turn it is, and whether it is the only one; None when closed."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            job = self._jobs.popleft()
            index = job.begun
            job.begun += 1
            if job.begun < len(job.images):
                self._jobs.append(job)
            return job, index, self._images == 1

    def _work(self) -> None:
        while taken := self._take():
            job, index, alone = taken
            outcome = attempt(self._score_one, job.images[index], alone)
            with self._changed:
                self._images -= 1
                job.outcomes[index] = outcome
                if len(job.outcomes) == len(job.images) and not job.abandoned:
                    job.done()

    def _score_one(self, image: Encoded, alone: bool) -> Logits:
        spec = self._model.manifest.pixels
        data = image_bytes(image) if isinstance(image, str) else image
        pixels = to_pixels(decode(data, spec, self._limits), spec)
        logits: Logits = self._model.run(pixels[np.newaxis], alone)[0]
        if not np.isfinite(logits).all():
            raise ScoringError("inference-failed", "The model gave non-finite scores for this image.")
        return logits
