"""Scoring on a CPU: as many threads as cores, each decoding and running one image at a time on one model copy."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import numpy as np

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.errors import DecodingUnavailable, ImageError, ImageTooLarge
from service.errors import INTERNAL, ScoringError, out_of_memory, overloaded
from service.scoring.encoded import LongText, image_bytes
from service.scoring.model import Logits, Model, Pixels
from service.scoring.queue import Encoded, ImageQueue, Result, Ticket
from service.scoring.runs import Runs

Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")

log = logging.getLogger("salver.service")

CLOSE_SECONDS = 5.0


class Scorer:
    """Encoded images in, results out."""

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

    async def score(self, images: Sequence[Encoded]) -> list[Result]:
        """The results of one request's images, in order; see `ImageQueue.score`."""
        return await self.queue.score(images)

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
        pixels = scored_or_error(prepare, ticket.image, self.model, self._decoders, ticket.is_abandoned)
        decoded = time.perf_counter()
        if isinstance(pixels, ScoringError):
            return Result(pixels, ticket.queue_seconds, decoded - began)
        outcome = scored_or_error(self._run, pixels, ticket.alone)
        return Result(outcome, ticket.queue_seconds, decoded - began, time.perf_counter() - decoded)

    def _run(self, pixels: Pixels, alone: bool) -> Logits:
        with self.runs.one() as options:
            return finite(self.model.run(pixels[np.newaxis], alone, options)[0])


def prepare(image: Encoded, model: Model, decoders: Decoders, given_up: Callable[[], bool] = lambda: False) -> Pixels:
    """uint8 pixels [height, width, 3] as the model takes them; see `Decoders.pixels` for `given_up`.

    Raises ScoringError, ImageError and DecodingUnavailable.
    """
    if isinstance(image, np.ndarray):
        return image
    data = image_bytes(image, decoders.limits.max_bytes) if isinstance(image, str | LongText) else image
    return decoders.pixels(data, model.manifest.pixels, given_up)


def finite(logits: Logits) -> Logits:
    """The same logits. Raises ScoringError `inference-failed` when one is not a number."""
    if not np.isfinite(logits).all():
        raise ScoringError("inference-failed", "The model gave non-finite scores for this image.")
    return logits


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
