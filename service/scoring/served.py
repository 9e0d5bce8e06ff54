"""The model that is served with its scorer, and its replacement as a whole without a restart."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Literal, Never, Self, TypeVar

from salver.artifact.bounds.decoders import Decoders, start_nursery
from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import missing_output
from salver.artifact.pixels import MOST_BYTES_A_PIXEL, Limits
from salver.system.allocator import return_memory
from salver.system.cores import available_cores
from salver.system.daemon import in_daemon_thread
from salver.text import printable
from service.scoring.batcher import AnyScorer, make_scorer
from service.scoring.encoded import Encoded
from service.scoring.health import Health
from service.scoring.machine import image_memory_bytes, passport
from service.scoring.model import Model, ModelFile, open_model, read_model
from service.scoring.outcome import Wanted
from service.scoring.scorer import Result
from service.scoring.watch import Watch, signature
from service.settings import PREFIX, Freshness, Settings

Value = TypeVar("Value")
Change = Literal["ok", "failed"]

log = logging.getLogger("salver.service")


class ServedModel:
    """A context manager around each request that scores: the scorer is not closed before the last of them is answered.

    For one thread, the event loop's.
    """

    def __init__(self, model: Model, scorer: AnyScorer) -> None:
        self.model = model
        self.scorer = scorer
        self.health = Health(model.manifest, scorer)
        self.passport = passport(model.provider, model.card_difference)
        self._requests = 0
        self._released: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._requests += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._requests -= 1
        if self._released is not None and not self._requests:
            self._released.set()

    async def score(self, images: Sequence[Encoded], wanted: Sequence[Wanted] = ()) -> list[Result]:
        """The results of one request's images, in order; see `ImageQueue.score`."""
        results = await self.scorer.score(images, wanted)
        self.health.note(results)
        return results

    async def retire(self) -> None:
        """Wait for the requests inside, which are the last ones, and end the scorer's threads."""
        self._released = asyncio.Event()
        if self._requests:
            await self._released.wait()
        self.health.close()
        await asyncio.to_thread(self.scorer.close)
        self.model.close()


class ModelSlot:
    """The model that is served, and its replacement: one change at a time, two models in memory at most."""

    def __init__(
        self,
        settings: Settings,
        inflight_bytes: int,
        *,
        on_batch: Callable[[int], object],
        on_change: Callable[[Change], object],
    ) -> None:
        """`inflight_bytes` is what bodies may hold, and no image.

        `on_batch` is told the images of each batch, by any thread; `on_change` what became of a change.
        """
        self.live: ServedModel | None = None
        """None until the first model is loaded."""
        self.freshness = Freshness(f"{PREFIX}MODEL")
        self._settings = settings
        self._on_batch = on_batch
        self._on_change = on_change
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
        log.info(
            "ready: %s, version %s, %s; %s", self._settings.model, model.version[:12], execution, self.live.passport
        )

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

    async def change(self, *, asked: bool = True) -> Literal["changed", "unchanged"] | Exception:
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
                self._refuse(live, str(live) if isinstance(file, Exception) else file.version, asked=asked)
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

    def _open(self, file: ModelFile) -> ServedModel:
        settings, cores = self._settings, available_cores()
        start_nursery()
        model = open_model(file, settings.device, cores, settings.engine_cache_dir)
        _check_settings(settings, file, model)
        if self._decoders is None:
            heat = model.heat_session is not None
            self._decoders = self._started_decoders(len(file.data), cores, heat=heat)
        return ServedModel(model, make_scorer(model, settings, cores, decoders=self._decoders, on_batch=self._on_batch))

    def _started_decoders(self, model_bytes: int, cores: int, *, heat: bool) -> Decoders:
        """Once, with what memory is left when the first model is there."""
        return_memory()
        left_bytes = image_memory_bytes(model_bytes, self._inflight_bytes, cores, heat=heat)
        memory_bytes = min(left_bytes, MOST_BYTES_A_PIXEL * self._settings.max_image_pixels)  # no image needs more
        decoders = Decoders(Limits(self._settings.max_image_bytes, self._settings.max_image_pixels, memory_bytes))
        decoders.start(cores)
        log.info(
            "each image may take %d MiB and %g s of a core to decode",
            memory_bytes >> 20,
            decoders.limits.max_cpu_seconds,
        )
        return decoders

    def _switch(self, old: ServedModel, new: ServedModel) -> None:
        self.live = new
        self.freshness.take()
        self._retiring = asyncio.create_task(_retire(old))
        self._on_change("ok")
        log.info(
            "model changed from version %s to %s; %s", old.model.version[:12], new.model.version[:12], new.passport
        )
        _tell_labels(old.model.manifest.labels, new.model.manifest.labels)

    def _refuse(self, error: Exception, file: str, *, asked: bool) -> None:
        """Count it, and say it once for each file."""
        news = self.freshness.fail(file)
        if news or asked:
            self._on_change("failed")
        if news:
            known = isinstance(error, ModelFileError)
            log.error("the model stays as it is: %s", error, exc_info=None if known else error)


def _check_settings(settings: Settings, file: ModelFile, model: Model) -> None:
    """Raises ModelFileError for a file without what a setting promises of every answer."""
    asked = [name for name in ("familiarity", "reject_foreign") if getattr(settings, name)]
    if asked and model.manifest.familiarity is None:
        raise ModelFileError(
            f"{PREFIX}{asked[0].upper()} is set, but {printable(file.location)} does not answer with a familiarity: "
            f"{missing_output(model.manifest, 'familiarity')} Or unset it."
        )


async def _retire(old: ServedModel) -> None:
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


def _given(value: Value | Exception) -> Value:
    if isinstance(value, Exception):
        raise value
    return value
