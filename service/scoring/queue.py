"""The bounded queue between the event loop and the scoring threads.

Requests take turns image by image, so that a list of 64 does not hold up a single image behind it.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from service.errors import ScoringError, overloaded
from service.scoring.encoded import LongText
from service.scoring.model import Logits, Pixels

Encoded = str | LongText | bytes | Pixels
"""An image as it came: base64 text, file bytes, or ready uint8 pixels [height, width, 3]."""
Outcome = Logits | ScoringError
"""What becomes of one image: float32 logits [classes], or its error."""


@dataclass(frozen=True)
class Result:
    """One image's outcome and where its time went, in seconds."""

    outcome: Outcome
    queue_seconds: float = 0.0
    decode_seconds: float = 0.0
    inference_seconds: float = 0.0
    fetch_seconds: float = 0.0


class Job:
    """The images of one request. Changed only under the queue's lock."""

    def __init__(self, images: Sequence[Encoded], done: Callable[[], object]) -> None:
        self.images = images
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

    async def score(self, images: Sequence[Encoded]) -> list[Result]:
        """The results of one request's images, in order.

        Raises ScoringError `overloaded` when the queue cannot take them all. Cancelling it takes those that have not
        begun out of the queue.
        """
        if not images:
            return []
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        job = Job(images, lambda: loop.call_soon_threadsafe(finished.set))
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
