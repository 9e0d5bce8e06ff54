"""A change of the model without a restart: by `POST /model/reload`, or because its file changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Literal, Never, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from salver.artifact.bounds.decoders import Decoders, start_nursery
from salver.artifact.errors import ModelFileError
from salver.artifact.pixels import MOST_BYTES_A_PIXEL, Limits
from salver.system.allocator import return_memory
from salver.system.cores import available_cores
from service.api.openapi import problem_answer, problems
from service.files.daemon import in_daemon_thread
from service.files.freshness import Freshness
from service.files.watch import Watch, signature
from service.limits.memory import image_memory_bytes
from service.scoring.batcher import make_scorer
from service.scoring.model import ModelFile, open_model, read_model
from service.scoring.served import Live
from service.settings import PREFIX, Settings
from service.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from service.service import Lifecycle

Result = TypeVar("Result")

log = logging.getLogger("salver.service")

router = APIRouter()


class Reloaded(BaseModel):
    """What became of the wish to serve the file as it is now."""

    outcome: Literal["changed", "unchanged"]
    version: str
    """sha256 of the model file that is served from now on."""
    version_before: str


@router.post(
    "/model/reload",
    responses=problems("unauthorised", "internal", "not-ready")
    | {
        404: problem_answer(404, "No admin key is configured."),
        409: problem_answer(409, "The new file cannot be served; the old one is."),
    },
    openapi_extra={"security": [{"key": []}]},
)
async def reload(request: Request) -> Reloaded:
    """Read the model file again and, if it is another one and proves good, serve it. Needs an admin key."""
    service: Lifecycle = request.app.state.service
    if not service.admin_keys:
        raise HTTPException(404, "Set SALVER_ADMIN_KEYS_FILE to change the model by request.")
    service.admin_keys.check(dict(request.scope["headers"]).get(b"authorization"))
    before = service.live.model.version
    result = await service.models.change()
    if isinstance(result, ModelFileError):
        raise HTTPException(409, str(result))
    if isinstance(result, Exception):
        raise result
    return Reloaded(outcome=result, version=service.live.model.version, version_before=before)


class Models:
    """The model that is served, and its replacement: one change at a time, two models in memory at most."""

    def __init__(self, settings: Settings, metrics: Metrics, inflight_bytes: int) -> None:
        """`inflight_bytes` is what bodies may hold, and no image."""
        self.live: Live | None = None
        """None until the first model is loaded."""
        self.freshness = Freshness(f"{PREFIX}MODEL")
        self._settings = settings
        self._metrics = metrics
        self._inflight_bytes = inflight_bytes
        self._decoders: Decoders | None = None
        self._signature_read: Hashable = None
        self._unread = False
        """The last try ended before there was a file to judge."""
        self._changing = asyncio.Lock()
        self._retiring: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Load the first model. Raises ModelFileError, and whatever else the store's package raises."""
        self._signature_read = await self._signature()
        file = _given(await in_daemon_thread(partial(read_model, self._settings.model)))
        self.live = _given(await in_daemon_thread(partial(self._open, file)))
        self.freshness.take()
        await asyncio.to_thread(return_memory)
        model, execution = self.live.model, self.live.scorer.execution
        if self._settings.device == "auto":
            log.info("SALVER_DEVICE=auto took %s", model.provider)
        log.info("ready: %s, version %s, %s", self._settings.model, model.version[:12], execution)

    async def poll(self) -> Never:
        """Look at the model file every MODEL_POLL_SECONDS, for good."""
        watch = Watch(self._signature_read)
        while True:
            await asyncio.sleep(self._settings.model_poll_seconds)
            found = await self._signature()
            if self._unread:  # here, or when somebody asked for it
                watch.failed()
            if watch.due(found):
                await self.change(asked=False)
                if not self._unread:
                    watch.done(found)
            elif watch.is_read(found) and not self.freshness.fault:
                self.freshness.confirm()

    async def change(self, asked: bool = True) -> Literal["changed", "unchanged"] | Exception:
        """Serve the model file as it is now, or say why that cannot be done; then the old one is served on.

        What nobody asked for is tried again and again, and counted when it has another outcome than before.
        """
        async with self._changing:
            assert self.live is not None
            if self._retiring is not None:
                await asyncio.wait([self._retiring])
            file = await in_daemon_thread(partial(read_model, self._settings.model))
            self._unread = isinstance(file, Exception)
            if isinstance(file, ModelFile) and file.version == self.live.model.version:
                self.freshness.confirm()
                return "unchanged"
            live = file if isinstance(file, Exception) else await in_daemon_thread(partial(self._open, file))
            if isinstance(live, Exception):
                self._refuse(live, str(live) if isinstance(file, Exception) else file.version, asked)
                return live
            self._switch(self.live, live)
            return "changed"

    async def close(self) -> None:
        """End the scorer, now that nobody waits for an answer."""
        if self._retiring is not None:
            await asyncio.wait([self._retiring])
        if self.live is not None:
            self.live.scorer.runs.end_after(0)  # nobody waits for one any more
            await self.live.retire()
        if self._decoders is not None:
            self._decoders.close()

    async def _signature(self) -> Hashable:
        """The file's signature, or why there is none."""
        found = await in_daemon_thread(partial(signature, self._settings.model))
        return repr(found) if isinstance(found, Exception) else found

    def _open(self, file: ModelFile) -> Live:
        settings, cores = self._settings, available_cores()
        start_nursery()
        model = open_model(file, settings.device, cores, settings.engine_cache_dir)
        if self._decoders is None:
            self._decoders = self._started_decoders(len(file.data), cores)
        return Live(model, make_scorer(model, settings, cores, self._decoders, self._metrics.batch_run))

    def _started_decoders(self, model_bytes: int, cores: int) -> Decoders:
        """Once, with what memory is left when the first model is there."""
        return_memory()
        left_bytes = image_memory_bytes(model_bytes, self._inflight_bytes, cores)
        memory_bytes = min(left_bytes, MOST_BYTES_A_PIXEL * self._settings.max_image_pixels)  # no image needs more
        decoders = Decoders(Limits(self._settings.max_image_bytes, self._settings.max_image_pixels, memory_bytes))
        decoders.start(cores)
        log.info(
            "each image may take %d MiB and %g s of a core to decode",
            memory_bytes >> 20,
            decoders.limits.max_cpu_seconds,
        )
        return decoders

    def _switch(self, old: Live, new: Live) -> None:
        self.live = new
        self.freshness.take()
        self._retiring = asyncio.create_task(_retire(old))
        self._metrics.reloaded(True)
        log.info("model changed from version %s to %s", old.model.version[:12], new.model.version[:12])
        _tell_labels(old.model.manifest.labels, new.model.manifest.labels)

    def _refuse(self, error: Exception, file: str, asked: bool) -> None:
        """Count it, and say it once for each file."""
        news = self.freshness.fail(file)
        if news or asked:
            self._metrics.reloaded(False)
        if news:
            known = isinstance(error, ModelFileError)
            log.error("the model stays as it is: %s", error, exc_info=None if known else error)


async def _retire(old: Live) -> None:
    await old.retire()
    del old
    await asyncio.to_thread(return_memory)


def _tell_labels(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    """Callers that know the labels, or their order, want to hear of this."""
    if new != old:
        log.warning(
            "the model's labels changed, or their order: %d before, %d now; gone: %s; new: %s",
            len(old),
            len(new),
            [label for label in old if label not in new][:10],
            [label for label in new if label not in old][:10],
        )


def _given(result: Result | Exception) -> Result:
    if isinstance(result, Exception):
        raise result
    return result
