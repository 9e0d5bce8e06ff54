"""Images to results: the bounded queue between the event loop and the scoring threads, and those threads on a CPU.

Requests take turns image by image, so that a list of 64 does not hold up a single image behind it.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

import numpy as np

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.errors import DecodingUnavailable, ImageError, ImageTooLarge
from salver.artifact.pixels import Header
from service.errors import INTERNAL, ScoringError, out_of_memory, overloaded
from service.scoring.encoded import Encoded, Prepared, prepare
from service.scoring.model import Model, Runs
from service.scoring.outcome import LOGITS, Batch, Outcome, Outputs, Wanted, outputs_of

Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")

log = logging.getLogger("salver.service")

CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class Result:
    """One image's outcome and where its time went, in seconds."""

    outcome: Outcome
    queue_seconds: float = 0.0
    decode_seconds: float = 0.0
    inference_seconds: float = 0.0
    fetch_seconds: float = 0.0
    header: Header | None = None
    """What the image's file says of itself; None for ready pixels, and for what was not decoded."""


class Job:
    """The images of one request. Changed only under the queue's lock."""

    def __init__(self, images: Sequence[Encoded], wanted: Sequence[Wanted], done: Callable[[], object]) -> None:
        self.images = images
        self.wanted = wanted
        self.done = done
        self.arrived = time.perf_counter()
        self.results: dict[int, Result] = {}
        self.begun = 0
        self.abandoned = False


@dataclass(frozen=True, slots=True)
class Ticket:
    """One image to score."""

    job: Job
    index: int
    alone: bool
    """No other image is waiting or being scored."""
    queue_seconds: float

    @property
    def image(self) -> Encoded:
        return self.job.images[self.index]

    @property
    def wanted(self) -> Wanted:
        """The outputs that the image is to have."""
        return self.job.wanted[self.index] if self.job.wanted else LOGITS

    def is_abandoned(self) -> bool:
        """Nobody waits for the result any more."""
        return self.job.abandoned


class ImageQueue:
    """Images in, tickets out; `score` waits for all of a request's results."""

    def __init__(self, max_images: int) -> None:
        self._max_images = max_images
        self._jobs: deque[Job] = deque()
        self._images = 0
        self._closed = False
        self._lock = threading.Lock()
        self._tokens: SimpleQueue[None] = SimpleQueue()
        """At least one for each image that can be taken, so that a thread sleeps until there may be one. A condition
        would wake it through two locks, and each wake costs more than all else that is done here."""

    @property
    def images(self) -> int:
        """Images that wait or are being scored."""
        return self._images

    async def score(self, images: Sequence[Encoded], wanted: Sequence[Wanted] = ()) -> list[Result]:
        """The results of one request's images, in order, with the outputs that each is to have; none given: logits.

        Raises ScoringError `overloaded` when the queue cannot take them all. Cancelling it takes those that have not
        begun out of the queue.
        """
        if not images:
            return []
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        job = Job(images, wanted, lambda: loop.call_soon_threadsafe(finished.set))
        self._enqueue(job)
        try:
            await finished.wait()
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        return [job.results[index] for index in range(len(images))]

    def take(self) -> Ticket | None:
        """Wait for the next image of the request whose turn it is; None when the queue was closed."""
        while True:
            self._tokens.get()
            with self._lock:
                if self._jobs:
                    return self._next()
                if self._closed:
                    self._tokens.put(None)  # for the next thread
                    return None

    def put(self, ticket: Ticket, result: Result) -> None:
        """Hand in a ticket's result."""
        job = ticket.job
        with self._lock:
            self._images -= 1
            job.results[ticket.index] = result
            if len(job.results) == len(job.images) and not job.abandoned:
                job.done()

    def close(self) -> None:
        """Take no more images; `take` gives None once those that are here are taken."""
        with self._lock:
            self._closed = True
        self._tokens.put(None)

    def _enqueue(self, job: Job) -> None:
        with self._lock:
            if self._closed or self._images + len(job.images) > self._max_images:
                raise overloaded(f"Images that wait: {self._images}; the limit is {self._max_images}: try again later.")
            self._images += len(job.images)
            self._jobs.append(job)
        for _ in job.images:
            self._tokens.put(None)

    def _next(self) -> Ticket:
        job = self._jobs.popleft()
        index = job.begun
        job.begun += 1
        if job.begun < len(job.images):
            self._jobs.append(job)
        return Ticket(job, index, self._images == 1, time.perf_counter() - job.arrived)

    def _abandon(self, job: Job) -> None:
        with self._lock:
            job.abandoned = True
            if job in self._jobs:
                self._jobs.remove(job)
                self._images -= len(job.images) - job.begun


class Scorer:
    """Encoded images in, results out, on a CPU: as many threads as cores, each decoding and running one image at a time
    on one model copy.
    """

    def __init__(self, model: Model, threads: int, max_queue_images: int, decoders: Decoders) -> None:
        self.model = model
        self.queue = ImageQueue(max_queue_images)
        self.execution = (
            f"{threads} threads, one image each; a lone image on {threads} cores"
            if threads > 1
            else "one thread, one image at a time"
        )
        self.runs = Runs()
        self._decoders = decoders
        self._threads = [threading.Thread(target=self._work, name=f"scorer-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    async def score(self, images: Sequence[Encoded], wanted: Sequence[Wanted] = ()) -> list[Result]:
        """The results of one request's images, in order; see `ImageQueue.score`."""
        return await self.queue.score(images, wanted)

    def close(self) -> None:
        """End the threads once every image that is here is scored; one that does not end is not waited for long."""
        self.queue.close()
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        while ticket := self.queue.take():
            self.queue.put(ticket, self._score(ticket))

    def _score(self, ticket: Ticket) -> Result:
        began = time.perf_counter()
        prepared = scored_or_error(prepare, ticket.image, self.model, self._decoders, ticket.is_abandoned)
        decoded = time.perf_counter()
        if isinstance(prepared, ScoringError):
            return Result(prepared, ticket.queue_seconds, decoded - began)
        outcome = scored_or_error(run_one, self.model, self.runs, prepared, ticket.wanted, alone=ticket.alone)
        seconds = time.perf_counter() - decoded
        return Result(outcome, ticket.queue_seconds, decoded - began, seconds, header=prepared.header)


def run_one(model: Model, runs: Runs, image: Prepared, wanted: Wanted, *, alone: bool = False) -> Outputs:
    """The model's outputs for one image, which is counted. Raises ScoringError `inference-failed`."""
    with runs.one() as options:
        batch = model.run(image.pixels[np.newaxis], wanted | model.counted, alone=alone, options=options)
    return counted_outputs(model, batch, 0, image, wanted)


def counted_outputs(model: Model, batch: Batch, row: int, image: Prepared, wanted: Wanted) -> Outputs:
    """What was wanted of one image in a batch, and its facts are counted; raises as `outputs_of` does."""
    outputs = outputs_of({name: values for name, values in batch.items() if name in wanted}, row)
    if image.look is not None:
        familiarity = batch.get("familiarity")
        model.facts.count(image.look, outputs.logits, None if familiarity is None else float(familiarity[row]))
    return outputs


def scored_or_error(
    action: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Value | ScoringError:
    """Run one image's work: whatever goes wrong is that image's own error and never ends a scoring thread."""
    try:
        return action(*args, **kwargs)
    except (ScoringError, ImageError, DecodingUnavailable, MemoryError) as error:
        # Its traceback would hold every frame, and with them the image, until Python looks for circles.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return _scoring_error(error)
    except Exception:
        log.exception("scoring an image failed")
        return ScoringError("internal", INTERNAL)


def _scoring_error(error: Exception) -> ScoringError:
    """What decoding raises, in the closed set."""
    match error:
        case ScoringError():
            return error
        case ImageTooLarge():
            return ScoringError("image-too-large", str(error))
        case ImageError():
            return ScoringError("undecodable-image", str(error))
        case DecodingUnavailable():
            return overloaded(f"{error} Try again later.")
    return out_of_memory()
