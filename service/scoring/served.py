"""A model and its scorer: what answers requests, and what is replaced as a whole when the model file changes."""

import asyncio
from collections.abc import Sequence
from typing import Self

from service.scoring.batcher import AnyScorer
from service.scoring.health import Health
from service.scoring.model import Model
from service.scoring.queue import Encoded, Result


class Live:
    """A context manager around each request that scores: the scorer is not closed before the last of them is answered.

    For one thread, the event loop's.
    """

    def __init__(self, model: Model, scorer: AnyScorer) -> None:
        self.model = model
        self.scorer = scorer
        self.health = Health(model.manifest, scorer)
        self._requests = 0
        self._released: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._requests += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._requests -= 1
        if self._released is not None and not self._requests:
            self._released.set()

    async def score(self, images: Sequence[Encoded]) -> list[Result]:
        """The results of one request's images, in order; see `ImageQueue.score`."""
        results = await self.scorer.score(images)
        self.health.note(results)
        return results

    async def retire(self) -> None:
        """Wait for the requests inside, which are the last ones, and end the scorer's threads."""
        self._released = asyncio.Event()
        if self._requests:
            await self._released.wait()
        self.health.close()
        await asyncio.to_thread(self.scorer.close)
