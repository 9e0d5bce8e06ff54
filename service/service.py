"""What the process is doing: loading, ready, failing, draining; and what it holds meanwhile."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Literal, Never

import httpx
from starlette.requests import Request

from salver.artifact.errors import ArtifactError
from salver.errors import VariableError
from salver.system.allocator import return_memory
from salver.system.certificates import own_certificates
from service.errors import ScoringError, SettingsError
from service.fetch.fetcher import Fetcher, FetchPolicy
from service.limits.request import Budget, Keys, RateLimit, read_admin_keys
from service.scoring.machine import default_budget_bytes
from service.scoring.served import ModelSlot, ServedModel
from service.settings import Freshness, Settings
from service.telemetry.metrics import Metrics

log = logging.getLogger("salver.service")

TRIM_SECONDS = 10.0
LOOK_SECONDS = 1.0
Status = Literal["loading", "ready", "failing", "draining", "failed"]


class Service:
    """The parts of a running service; the model arrives in the background, so that /healthz answers from the start."""

    def __init__(self, settings: Settings, keys: Keys, on_failure: Callable[[], None] = lambda: None) -> None:
        """`on_failure` is called when the model cannot be loaded. Raises SettingsError for the admin keys and for
        the certificates that the environment names.
        """
        self.settings = settings
        self.keys = keys
        self.admin_keys = read_admin_keys(settings)
        self.metrics = Metrics(self)
        self.budget = Budget(settings.max_inflight_bytes or default_budget_bytes(settings.max_body_bytes))
        self.models = ModelSlot(
            settings, self.budget.max_bytes, on_batch=self.metrics.batch_run, on_change=self.metrics.reloaded
        )
        self.rate_limit = RateLimit(settings.rate_limit_images_per_second, settings.max_items)
        self.fetcher = Fetcher(
            FetchPolicy(
                mode=settings.url_fetch,
                allowlist=settings.allowed_hosts,
                max_bytes=settings.url_max_bytes,
                timeout_seconds=settings.url_timeout_seconds,
            ),
            ssl_context=None if settings.url_fetch == "off" else _authorities(),
        )
        self._on_failure = on_failure
        self.draining = False
        self._loading: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._trimming: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._key_files = [each.file for each in (self.keys, self.admin_keys) if each.file is not None]
        self._key_watches: list[asyncio.Task[Never]] = []

    def start(self) -> None:
        """Begin to load the model on another thread."""
        self._loading = asyncio.create_task(self.models.load())
        self._loading.add_done_callback(self._loaded)
        self._key_watches = [asyncio.create_task(file.watch()) for file in self._key_files]
        self._trimming = asyncio.create_task(_return_memory_now_and_then())
        self._watching = asyncio.create_task(self._watch_runs())

    async def close(self) -> None:
        """Give everything back; images that are being scored are finished first, a model that is loading is not."""
        for task in (self._loading, self._polling, self._trimming, self._watching, *self._key_watches):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self.models.close()
        await self.fetcher.aclose()

    def drain(self) -> None:
        """Not ready any more, so that load balancers send no more; what still arrives is served."""
        self.draining = True

    @property
    def status(self) -> Status:
        """What it is doing now."""
        if self.draining:
            return "draining"
        if self.models.live is not None:
            return "ready" if self.models.live.health.works else "failing"
        return "failed" if self._loading is not None and self._loading.done() else "loading"

    @property
    def watched(self) -> list[Freshness]:
        """Of the files that are looked at again and again while it runs."""
        models = [self.models.freshness] if self._polling is not None else []
        return [file.freshness for file in self._key_files] + models

    def check_ready(self) -> None:
        """Whether load balancers may send requests. Raises ScoringError `not-ready`."""
        if self.status != "ready":
            raise ScoringError("not-ready", f"The service is {self.status}.")

    @property
    def live(self) -> ServedModel:
        """The model that is served, and its scorer. Raises ScoringError `not-ready`."""
        if self.models.live is None:
            raise ScoringError("not-ready", "The model is still loading: try again when /readyz answers 200.")
        return self.models.live

    async def _watch_runs(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.models.live is not None:
                self.models.live.health.look(self.settings.request_timeout_seconds)

    def _loaded(self, loading: asyncio.Task[None]) -> None:
        if loading.cancelled():
            return
        error = loading.exception()
        if error is not None:
            log.error("%s", error, exc_info=None if isinstance(error, ArtifactError) else error)
            self._on_failure()
        elif self.settings.model_poll_seconds:
            self._polling = asyncio.create_task(self.models.poll())


def service_of(request: Request) -> Service:
    """The service that answers this request."""
    service: Service = request.app.state.service
    return service


async def _return_memory_now_and_then() -> None:
    while True:
        await asyncio.sleep(TRIM_SECONDS)
        await asyncio.to_thread(return_memory)


def _authorities() -> ssl.SSLContext:
    """Who vouches for the https servers of image URLs. Nobody else is trusted in place of those that cannot be read."""
    try:
        return own_certificates() or httpx.create_ssl_context(trust_env=False)
    except VariableError as error:
        raise SettingsError(f"{error} It is not read with SALVER_URL_FETCH=off.") from None
