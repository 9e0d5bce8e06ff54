"""What the process is doing: loading, ready, draining; and what it holds while it is ready."""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from artifact.errors import ModelFileError
from artifact.pixels import Limits
from service.cores import available_cores
from service.errors import ScoringError
from service.fetch import Fetcher, FetchPolicy
from service.keys import Keys
from service.model import Model, load_model
from service.request import BodyParser
from service.scorer import Scorer
from service.settings import Settings

log = logging.getLogger("salver.service")

Status = Literal["loading", "ready", "draining", "failed"]


class Lifecycle:
    """The parts of a running service; the model arrives in the background, so that /healthz answers from the start."""

    def __init__(self, settings: Settings, keys: Keys, on_failure: Callable[[], None]) -> None:
        self.settings = settings
        self.keys = keys
        self.parser = BodyParser(settings.max_items)
        self.fetcher = Fetcher(
            FetchPolicy(
                mode=settings.url_fetch,
                allowlist=settings.allowed_hosts,
                max_bytes=settings.url_max_bytes,
                timeout_seconds=settings.url_timeout_seconds,
            )
        )
        self.status: Status = "loading"
        self._on_failure = on_failure
        self._model: Model | None = None
        self._scorer: Scorer | None = None
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load the model on another thread."""
        self._loading = asyncio.create_task(self._load())
        self._loading.add_done_callback(self._loaded)

    async def close(self) -> None:
        """Give everything back; images that are being scored are finished first."""
        if self._loading is not None:
            await asyncio.wait([self._loading])
        if self._scorer is not None:
            await asyncio.to_thread(self._scorer.close)
        await self.fetcher.aclose()

    def drain(self) -> None:
        """Not ready any more, so that load balancers send no more; what still arrives is served."""
        self.status = "draining"

    @property
    def model(self) -> Model:
        """The loaded model. Raises ScoringError `not-ready`."""
        if self._model is None:
            raise ScoringError("not-ready", "The model is still loading: try again when /readyz answers 200.")
        return self._model

    @property
    def scorer(self) -> Scorer:
        """The scorer of that model. Raises ScoringError `not-ready`."""
        if self._scorer is None:
            raise ScoringError("not-ready", "The model is still loading: try again when /readyz answers 200.")
        return self._scorer

    async def _load(self) -> None:
        settings, cores = self.settings, available_cores()
        model = await asyncio.to_thread(load_model, settings.model, settings.device, cores)
        self._model = model
        self._scorer = Scorer(model, cores, settings.max_queue_images, Limits(max_pixels=settings.max_image_pixels))
        if self.status == "loading":
            self.status = "ready"
        if settings.device == "auto":
            log.info("SALVER_DEVICE=auto took %s", model.provider)
        log.info("ready: %s, version %s, %d scoring threads", settings.model, model.version[:12], cores)

    def _loaded(self, loading: asyncio.Task[None]) -> None:
        error = loading.exception()
        if error is None:
            return
        log.error("%s", error, exc_info=None if isinstance(error, ModelFileError) else error)
        self.status = "failed"
        self._on_failure()
