"""Image files from the web: few at once from one host, bounded in bytes and time, tried again after a wait."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

import httpx
from httpx_retries import Retry, RetryTransport

from artifact.pixels import Limits
from training.errors import SourceError


@dataclass(frozen=True)
class DownloadLimits:
    """`connections` at once, `per_host` of them to one host; an image takes `timeout_seconds`, retries included."""

    connections: int = 16
    per_host: int = 4
    timeout_seconds: float = 30.0
    max_bytes: int = Limits().max_bytes
    retries: int = 3
    contact: str = ""
    """An address or page for the hosts' administrators; some hosts want one."""


class Downloader:
    """Gets bytes. Made by `downloader`."""

    def __init__(self, client: httpx.AsyncClient, limits: DownloadLimits) -> None:
        self.client = client
        self._limits = limits
        self._hosts: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(limits.per_host))

    async def get(self, url: str) -> bytes:
        """The content of a URL. Raises SourceError."""
        try:
            async with self._hosts[httpx.URL(url).host], asyncio.timeout(self._limits.timeout_seconds):
                return await self._get(url)
        except TimeoutError as error:
            raise SourceError(f"took longer than {self._limits.timeout_seconds:g} s") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise SourceError(f"is not a URL that can be fetched ({error})") from error
        except httpx.HTTPError as error:
            raise SourceError(f"cannot be fetched ({str(error) or type(error).__name__})") from error

    async def _get(self, url: str) -> bytes:
        content = bytearray()
        async with self.client.stream("GET", url) as answer:
            if not answer.is_success:
                raise SourceError(f"was answered with {answer.status_code} {answer.reason_phrase}".rstrip())
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > self._limits.max_bytes:
                    raise SourceError(f"has more than {self._limits.max_bytes:,} bytes")
        return bytes(content)


@asynccontextmanager
async def downloader(limits: DownloadLimits) -> AsyncIterator[Downloader]:
    """With a client that says who it is and waits between its tries as hosts ask it to."""
    pool = httpx.Limits(max_connections=limits.connections, max_keepalive_connections=limits.connections)
    retry = Retry(total=limits.retries, backoff_factor=0.5, max_backoff_wait=limits.timeout_seconds)
    contact = f"; {limits.contact}" if limits.contact else ""
    agent = f"salver/{version('salver')} (builds image data sets{contact})"
    async with httpx.AsyncClient(
        transport=RetryTransport(httpx.AsyncHTTPTransport(limits=pool), retry),
        headers={"User-Agent": agent},
        timeout=limits.timeout_seconds,
        follow_redirects=True,
        max_redirects=5,
    ) as client:
        yield Downloader(client, limits)
