"""Image files from the web: few at once from one host, bounded in bytes and time, tried again after a wait."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

import httpx
from httpx_retries import Retry, RetryTransport

from salver.artifact.pixels import Limits
from salver.errors import VariableError
from salver.system.certificates import no_certificates, own_certificates
from salver.system.packing import PackingError, unpacker
from salver.system.proxy import Proxy, proxy_for
from training.errors import SourceError
from training.ranges import CONNECTIONS, FILE_BYTES, SECONDS

MAX_REDIRECTS = 5


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

    def __post_init__(self) -> None:
        CONNECTIONS.check(self.connections)
        CONNECTIONS.check(self.per_host)
        SECONDS.check(self.timeout_seconds)
        FILE_BYTES.check(self.max_bytes)


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
        except VariableError as error:
            raise SourceError(f"cannot be fetched: {error}") from error
        except httpx.HTTPError as error:
            raise SourceError(f"cannot be fetched ({str(error) or type(error).__name__})") from error

    async def _get(self, url: str) -> bytes:
        async with opened(self.client, url) as answer:
            if not answer.is_success:
                raise SourceError(f"was answered with {answer.status_code} {answer.reason_phrase}".rstrip())
            return await content(answer, self._limits.max_bytes)


@asynccontextmanager
async def opened(
    client: httpx.AsyncClient, url: str, question: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.Response]:
    """The answer at the end of the redirects, of which nothing but the head has been read: httpx would read every
    redirect's body, unpacked, whatever it comes to. Raises SourceError and what httpx raises.
    """
    request = client.build_request("GET", url, params=question)
    for _ in range(MAX_REDIRECTS + 1):
        answer = await client.send(request, stream=True, follow_redirects=False)
        async with aclosing(answer):
            if answer.next_request is None:
                yield answer
                return
            request = answer.next_request
    raise SourceError(f"leads on to other addresses more than {MAX_REDIRECTS} times")


async def content(answer: httpx.Response, max_bytes: int) -> bytes:
    """The body of an opened answer, unpacked once where its host packs although it was not asked to.

    The limit holds for the bytes that come and for what they unpack to, before memory is taken for them. Raises
    SourceError for more, for other packing than one gzip or deflate, and for a damaged one.
    """
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > max_bytes:
        raise SourceError(f"has more than {max_bytes:,} bytes")
    body, came = bytearray(), 0
    try:
        opener = unpacker(answer.headers.get_list("Content-Encoding"))
        async for piece in answer.aiter_raw():
            came += len(piece)
            for step in (piece,) if opener is None else opener.unpacked(piece):
                body += step
                if max(came, len(body)) > max_bytes:
                    raise SourceError(f"has more than {max_bytes:,} bytes")
        if opener is not None:
            opener.finish()
    except PackingError as error:
        raise SourceError(str(error)) from error
    return bytes(body)


class _Ways(httpx.AsyncBaseTransport):
    """Sends each request, one of a redirect too, as the environment's proxies and certificates say for its URL.

    A way is opened when a URL needs it, so that a variable which cannot be used is the fault of that URL alone.
    """

    def __init__(self, pool: httpx.Limits) -> None:
        self._pool = pool
        self._opened: dict[tuple[str, bool], httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises VariableError."""
        proxy = proxy_for(str(request.url))
        over_tls = request.url.scheme == "https" or (proxy is not None and proxy.scheme == "https")
        way = ("" if proxy is None else proxy.url, over_tls)
        if way not in self._opened:
            self._opened[way] = self._open(proxy, own_certificates() if over_tls else no_certificates())
        return await self._opened[way].handle_async_request(request)

    def _open(self, proxy: Proxy | None, own: ssl.SSLContext | None) -> httpx.AsyncHTTPTransport:
        over = None
        if proxy is not None:
            over = httpx.Proxy(proxy.url, ssl_context=own if proxy.scheme == "https" else None)
        verify = True if own is None else own
        return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=self._pool, proxy=over)

    async def aclose(self) -> None:
        for way in self._opened.values():
            await way.aclose()


@asynccontextmanager
async def downloader(limits: DownloadLimits) -> AsyncIterator[Downloader]:
    """With a client that says who it is and waits between its tries as hosts ask it to."""
    pool = httpx.Limits(max_connections=limits.connections, max_keepalive_connections=limits.connections)
    retry = Retry(total=limits.retries, backoff_factor=0.5, max_backoff_wait=limits.timeout_seconds)
    contact = f"; {limits.contact}" if limits.contact else ""
    agent = f"salver/{version('salver')} (builds image data sets{contact})"
    async with httpx.AsyncClient(
        transport=RetryTransport(_Ways(pool), retry),
        headers={"User-Agent": agent, "Accept-Encoding": "identity"},
        timeout=limits.timeout_seconds,
    ) as client:
        yield Downloader(client, limits)
