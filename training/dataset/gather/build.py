"""`salver build`: a data set out of local folders, image URLs and text queries."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from salver.artifact.errors import ImageError
from salver.artifact.formats import identify
from salver.system.durable import durable
from salver.system.regular_file import read_regular
from training.dataset.gather.download import Downloader, DownloadLimits, downloader
from training.dataset.gather.origins import Origin, Sources
from training.dataset.gather.providers import Hit, Provider
from training.dataset.gather.spec import FolderSource, QuerySource, Source, UrlSource
from training.dataset.inspection.decoding import decoders
from training.dataset.inspection.inspection import SMALL
from training.dataset.reading.alike import refuse_alike
from training.dataset.reading.folder import images_below
from training.dataset.reading.places import alone, refuse_among_photos, refuse_inside
from training.dataset.reading.table import write_table
from training.errors import DatasetError, SourceError
from training.progress import Progress

SUFFIXES = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WebP": "webp", "TIFF": "tif", "BMP": "bmp", "AVIF": "avif"}
SEARCH_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Candidate:
    """A file that may become an image of `label`: a local path, or a hit with a URL."""

    label: str
    hit: Hit
    path: Path | None = None
    provider: str = ""
    query: str = ""


@dataclass(frozen=True)
class Failure:
    """What the data set does not have, and why."""

    label: str
    source: str
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """Counts of candidates: new images, those of an earlier run, identical copies, and failures one by one."""

    added: int
    kept: int
    copies: int
    failures: tuple[Failure, ...]


def build(
    sources: Sequence[Source],
    out: Path,
    provider: Provider | None,
    *,
    per_query: int,
    limits: DownloadLimits,
    progress: Progress,
) -> BuildReport:
    """Fill OUT/LABEL/ with the images of all sources and OUT/sources.csv with where each came from.

    What an earlier run got is not fetched again. A source that fails is a Failure, in OUT/failures.csv too, and the
    others go on. `per_query` is the number of hits to try for a query. Raises OSError when `out` cannot be written,
    SettingError while another command writes to it, and for an `out` among the photos that it is filled from, and
    DatasetError for a label that a person takes for one which `out` has already.
    """
    for source in sources:
        if isinstance(source, FolderSource):
            refuse_inside(source.folder, out / source.label, "The folder to fill")
    refuse_among_photos(out, "The folder to fill")
    with alone(out):
        return _build(sources, out, provider, per_query=per_query, limits=limits, progress=progress)


def _build(
    sources: Sequence[Source],
    out: Path,
    provider: Provider | None,
    *,
    per_query: int,
    limits: DownloadLimits,
    progress: Progress,
) -> BuildReport:
    with Sources(out) as known:
        refuse_alike({*(row.label for row in known.known), *(source.label for source in sources)}, str(out))
        work = _Build(out, known, provider, per_query=per_query, max_bytes=limits.max_bytes, progress=progress)
        asyncio.run(work.run(sources, limits))
    report = BuildReport(work.added, work.kept, work.copies, tuple(work.failures))
    rows = ((failure.label, failure.source, failure.reason) for failure in report.failures)
    write_table(out / "failures.csv", ("label", "source", "reason"), rows)
    return report


class _Build:
    """One run: what it knows, and what it counts."""

    def __init__(
        self,
        out: Path,
        known: Sources,
        provider: Provider | None,
        *,
        per_query: int,
        max_bytes: int,
        progress: Progress,
    ) -> None:
        self.added = self.kept = self.copies = 0
        self.failures: list[Failure] = []
        self._out, self._known, self._provider = out, known, provider
        self._per_query, self._max_bytes, self._progress = per_query, max_bytes, progress
        self._done = {(origin.label, origin.url) for origin in known.known}
        self._places = {origin.sha256: origin for origin in reversed(known.known)}

    async def run(self, sources: Sequence[Source], limits: DownloadLimits) -> None:
        async with downloader(limits) as web:
            self._progress.begin("asking", len(sources))
            candidates: list[Candidate] = []
            for source in sources:
                candidates += [candidate async for candidate in self._candidates(source, web)]
                self._progress.advance(1)
            new = [candidate for candidate in candidates if (candidate.label, candidate.hit.url) not in self._done]
            self.kept += len(candidates) - len(new)
            self._progress.begin("fetching", len(new))
            queue = iter(new)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(limits.connections, len(new))):
                    group.create_task(self._work(queue, web))

    async def _work(self, queue: Iterator[Candidate], web: Downloader) -> None:
        for candidate in queue:
            await self._take(candidate, web)
            self._progress.advance(1, f"{self.added} new, {len(self.failures)} failed")

    async def _candidates(self, source: Source, web: Downloader) -> AsyncIterator[Candidate]:
        try:
            if isinstance(source, FolderSource):
                for image in images_below(source.folder):
                    yield Candidate(
                        source.label, Hit(str(image.path.absolute())), path=image.path.absolute(), provider="folder"
                    )
            elif isinstance(source, UrlSource):
                yield Candidate(source.label, Hit(source.url), provider="url")
            else:
                async for candidate in self._found(source, web):
                    yield candidate
        except (SourceError, DatasetError) as error:
            self._fail(source.label, _name(source), str(error))

    async def _found(self, source: QuerySource, web: Downloader) -> AsyncIterator[Candidate]:
        """The first hits. A query that was answered in full is not asked again."""
        known = [row for row in self._known.known if (row.label, row.query) == (source.label, source.query)]
        if len(known) >= self._per_query:
            for row in islice(known, self._per_query):
                yield Candidate(source.label, Hit(row.url))
            return
        if self._provider is None:
            raise SourceError("is a query, and no provider was named")
        count = 0
        try:
            async with asyncio.timeout(SEARCH_TIMEOUT_SECONDS):
                async for hit in self._provider.search(web.client, source.query):
                    yield Candidate(source.label, hit, provider=self._provider.name, query=source.query)
                    count += 1
                    if count == self._per_query:
                        return
        except TimeoutError as error:
            raise SourceError(f"{self._provider.name} took longer than {SEARCH_TIMEOUT_SECONDS:g} s") from error
        if count == 0:
            raise SourceError(f"{self._provider.name} finds nothing for it")

    async def _take(self, candidate: Candidate, web: Downloader) -> None:
        try:
            data = read_regular(candidate.path, self._max_bytes) if candidate.path else await web.get(candidate.hit.url)
            await asyncio.to_thread(decoders().image, data, SMALL)
            self._store(candidate, data)
        except OSError as error:
            if error.filename != str(candidate.path):
                raise
            self._fail(candidate.label, candidate.hit.url, f"cannot be read: {error.strerror}")
        except (SourceError, ImageError) as error:
            self._fail(candidate.label, candidate.hit.url, str(error))

    def _store(self, candidate: Candidate, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        twin = self._places.get(digest)
        if twin and twin.label != candidate.label:
            raise SourceError(f"is the same picture as {twin.path}, which has another label")
        name = twin.path if twin else f"{candidate.label}/{digest[:16]}.{SUFFIXES.get(identify(data), 'heic')}"
        if twin:
            self.copies += 1
        else:
            with durable(self._out / name) as partial:
                partial.write_bytes(data)
            self.added += 1
        origin = _origin(candidate, name, digest)
        self._places.setdefault(digest, origin)
        self._known.add(origin)

    def _fail(self, label: str, source: str, reason: str) -> None:
        self.failures.append(Failure(label, source, reason))


def _origin(candidate: Candidate, name: str, digest: str) -> Origin:
    hit, now = candidate.hit, datetime.now(UTC).isoformat(timespec="seconds")
    return Origin(
        name,
        candidate.label,
        hit.url,
        candidate.provider,
        candidate.query,
        hit.page,
        hit.licence,
        hit.licence_url,
        hit.author,
        " ".join(hit.title.split()),
        digest,
        now,
    )


def _name(source: Source) -> str:
    if isinstance(source, FolderSource):
        return str(source.folder)
    return source.url if isinstance(source, UrlSource) else f"query '{source.query}'"
