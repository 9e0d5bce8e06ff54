"""Scoring on a GPU: a pool of threads decodes, and one thread runs in batches what has gathered meanwhile."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from salver.artifact.bounds.decoders import Decoders
from service.errors import ScoringError
from service.scoring.device import CPU
from service.scoring.encoded import Encoded, Prepared, prepare
from service.scoring.model import Model, Runs
from service.scoring.outcome import Outcome, Wanted
from service.scoring.runner import Runner
from service.scoring.scorer import (
    CLOSE_SECONDS,
    ImageQueue,
    Result,
    Scorer,
    Ticket,
    counted_outputs,
    run_one,
    scored_or_error,
)
from service.settings import Settings

GAVE_UP = Result(ScoringError("deadline-exceeded", "The caller gave up."))


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image that waits for its batch."""

    ticket: Ticket
    prepared: Prepared
    began: float
    """When its decoding began and ended, on `time.perf_counter`'s clock."""
    ended: float


class BatchScorer:
    """Encoded images in, results out, like `Scorer`.

    A batch never waits for more images: it is whatever was decoded while the last one ran, so that a lone image is
    run at once and batches grow with the load.
    """

    def __init__(
        self,
        model: Model,
        runner: Runner,
        *,
        threads: int,
        max_queue_images: int,
        decoders: Decoders,
        on_batch: Callable[[int], object],
    ) -> None:
        self.model = model
        self.queue = ImageQueue(max_queue_images)
        self.execution = f"batches of up to {runner.largest} on {model.provider}, {threads} decoding threads"
        self.runs = Runs()
        self._runner = runner
        self._decoders = decoders
        self._on_batch = on_batch
        self._decoded: deque[Decoded] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._decode_all, name=f"decoder-{n}", daemon=True) for n in range(threads)
        ]
        self._batching = threading.Thread(target=self._score_all, name="batcher", daemon=True)
        for thread in (*self._threads, self._batching):
            thread.start()

    async def score(self, images: Sequence[Encoded], wanted: Sequence[Wanted] = ()) -> list[Result]:
        """The results of one request's images, in order; see `ImageQueue.score`."""
        return await self.queue.score(images, wanted)

    def close(self) -> None:
        """End the threads once every image that is here is scored."""
        self.queue.close()
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._batching.join(CLOSE_SECONDS)

    def _decode_all(self) -> None:
        while ticket := self.queue.take():
            if not self._gave_up(ticket):
                self._decode(ticket)

    def _decode(self, ticket: Ticket) -> None:
        began = time.perf_counter()
        prepared = scored_or_error(prepare, ticket.image, self.model, self._decoders, ticket.is_abandoned)
        ended = time.perf_counter()
        if isinstance(prepared, ScoringError):
            self.queue.put(ticket, Result(prepared, ticket.queue_seconds, ended - began))
            return
        if "heat" in ticket.wanted:  # which is computed on the CPU: no batch waits for it
            outcome = scored_or_error(run_one, self.model, self.runs, prepared, ticket.wanted)
            seconds = time.perf_counter() - ended
            header = prepared.header
            self.queue.put(ticket, Result(outcome, ticket.queue_seconds, ended - began, seconds, header=header))
            return
        with self._changed:
            # One batch ahead is enough; the rest waits where requests take turns.
            self._changed.wait_for(lambda: len(self._decoded) < self._runner.largest)
            self._decoded.append(Decoded(ticket, prepared, began, ended))
            self._changed.notify_all()

    def _score_all(self) -> None:
        while batch := self._gather():
            self._score([image for image in batch if not self._gave_up(image.ticket)])

    def _gather(self) -> list[Decoded]:
        """Wait for one image and take all that are there, up to a full batch; none when the scorer was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._decoded or self._closed)
            batch = [self._decoded.popleft() for _ in range(min(len(self._decoded), self._runner.largest))]
            self._changed.notify_all()
            return batch

    def _score(self, batch: Sequence[Decoded]) -> None:
        for wanted in dict.fromkeys(image.ticket.wanted for image in batch):
            self._score_alike([image for image in batch if image.ticket.wanted == wanted], wanted)

    def _score_alike(self, batch: Sequence[Decoded], wanted: Wanted) -> None:
        """Images that want the same outputs are one run."""
        began = time.perf_counter()
        outcomes = self._outcomes([image.prepared for image in batch], wanted)
        inference_seconds = time.perf_counter() - began
        self._on_batch(len(batch))
        for image, outcome in zip(batch, outcomes, strict=True):
            queue_seconds = image.ticket.queue_seconds + began - image.ended
            header, decode_seconds = image.prepared.header, image.ended - image.began
            result = Result(outcome, queue_seconds, decode_seconds, inference_seconds, header=header)
            self.queue.put(image.ticket, result)

    def _outcomes(self, images: Sequence[Prepared], wanted: Wanted) -> list[Outcome]:
        """One outcome an image; when a batch fails its images are run one by one, so that the good ones are scored."""
        with self.runs.one() as options:
            batch = scored_or_error(self._runner.run, [image.pixels for image in images], wanted, options)
        if not isinstance(batch, ScoringError):
            return [
                scored_or_error(counted_outputs, self.model, batch, row, image, wanted)
                for row, image in enumerate(images)
            ]
        if len(images) == 1:
            return [batch]
        return [outcome for image in images for outcome in self._outcomes([image], wanted)]

    def _gave_up(self, ticket: Ticket) -> bool:
        """Whether the image's caller went away; it is then done with."""
        abandoned = ticket.is_abandoned()
        if abandoned:
            self.queue.put(ticket, GAVE_UP)
        return abandoned


AnyScorer = Scorer | BatchScorer


def make_scorer(
    model: Model, settings: Settings, cores: int, *, decoders: Decoders, on_batch: Callable[[int], object]
) -> AnyScorer:
    """The scorer for the provider that the model runs on, warmed; its `execution` says what was chosen.

    `on_batch` is told the images of each batch. Raises ModelFileError when the model cannot be run.
    """
    if model.provider == CPU:
        return Scorer(model, cores, settings.max_queue_images, decoders)
    return BatchScorer(
        model,
        Runner.warmed(model),
        threads=cores,
        max_queue_images=settings.max_queue_images,
        decoders=decoders,
        on_batch=on_batch,
    )
