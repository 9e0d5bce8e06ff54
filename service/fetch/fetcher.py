"""Fetches an image from a URL without becoming a way to the inside.

What goes wrong is a ScoringError, whose text says nothing about the inside:

url-refused           the URL, its address or a redirect's is not allowed; nothing was sent to it
url-failed            the URL is allowed, but gave no image: unreachable, an HTTP error, an empty body, ...
image-too-large       the answer is longer than the limit

Stands on httpcore rather than httpx, so there are no cookies, credentials, proxies or `.netrc` to switch off, and no
log line that holds the URL. `service.fetch.connect` judges addresses where it connects to them, for the first URL and
every redirect; Host header, SNI and the certificate check keep the name.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Self
from weakref import WeakValueDictionary

import httpcore
import httpx

from salver.system.packing import PackingError, unpacker
from service.errors import ScoringError
from service.fetch.addresses import HOST_NAME, Allowlist
from service.fetch.connect import AddressRefused, CheckedBackend, Resolve
from service.fetch.resolve import CALLER, Resolver

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_CALLER = 64  # servers that are silent hold up the fetches of whoever names them
KEEPALIVE_SECONDS = 5.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
UNSAFE_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class FetchPolicy:
    """What may be fetched, and its bounds.

    `allowlist` holds host names, `*.domain`, addresses and networks; they are reached in mode `public` too, private or
    not. `timeout_seconds` bounds the whole fetch: names, connections, redirects and body.

    Raises:
        ValueError: an entry of the allow-list is none of these.
    """

    max_bytes: int
    timeout_seconds: float
    mode: Literal["public", "allowlist", "off"] = "public"
    allowlist: tuple[str, ...] = ()
    max_redirects: int = 3

    def __post_init__(self) -> None:
        Allowlist.parse(self.allowlist)


class Fetcher:
    """Fetches URLs under one policy over a pool of kept-alive connections; close it, or use it as a context manager.

    `ssl_context` says whose certificates are trusted (`salver.system.certificates`); without it, certifi's.
    """

    def __init__(
        self, policy: FetchPolicy, resolver: Resolve | None = None, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._policy = policy
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=CheckedBackend(
                Allowlist.parse(policy.allowlist), resolver or Resolver(), public=policy.mode == "public"
            ),
        )
        self._gates: WeakValueDictionary[bytes, asyncio.Semaphore] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def fetch(self, url: str, hold: Callable[[int], None] = lambda _: None) -> bytes:
        """The body, at least one byte, at the end of at most `max_redirects` redirects; its type is not looked at.

        `hold` is told how long the body is so far, before more is read; what it raises ends the fetch.

        Raises ScoringError: `url-refused` when the URL or a redirect may not be fetched; `url-failed` when it could not
        be; `image-too-large` when the body is longer than `max_bytes`, as announced or as received or inflated.
        """
        if self._policy.mode == "off":
            raise _refused("Image URLs are switched off on this service; send the image itself.")
        try:
            async with asyncio.timeout(self._policy.timeout_seconds), self._gate():
                return await self._follow(parse_url(url), hold)
        except AddressRefused:
            raise _refused(
                "Address not allowed: the URL's host is unknown, or its address is neither public nor on the service's "
                "allow-list."
            ) from None
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise _failed(self._cause(error)) from error

    def _gate(self) -> asyncio.Semaphore:
        """One caller's share of the connections; it goes when nobody holds it or waits at it."""
        caller = CALLER.get()
        gate = self._gates.get(caller)
        if gate is None:
            gate = self._gates[caller] = asyncio.Semaphore(MAX_CONNECTIONS_PER_CALLER)
        return gate

    async def _follow(self, url: httpx.URL, hold: Callable[[int], None]) -> bytes:
        for _ in range(self._policy.max_redirects + 1):
            async with self._request(url) as response:
                headers = httpx.Headers(response.headers)
                if response.status not in REDIRECTS or "location" not in headers:
                    return await self._body(response, headers, hold)
            url = parse_url(headers["location"], url)
        raise _failed(f"The URL redirects more than {self._policy.max_redirects} times; give the final URL.")

    def _request(self, url: httpx.URL) -> AbstractAsyncContextManager[httpcore.Response]:
        return self._pool.stream(
            "GET",
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=[
                (b"Host", url.netloc),
                (b"User-Agent", b"salver"),
                (b"Accept", b"image/*, */*;q=0.1"),
                (b"Accept-Encoding", b"identity"),
            ],
            extensions={"timeout": {"connect": self._policy.timeout_seconds}},
        )

    async def _body(self, response: httpcore.Response, headers: httpx.Headers, hold: Callable[[int], None]) -> bytes:
        if not 200 <= response.status < 300:
            raise _failed(f"The URL answered with HTTP status {response.status}.")
        limit = self._policy.max_bytes
        too_large = ScoringError(
            "image-too-large", f"The image at the URL is too large: more than the limit of {limit} bytes."
        )
        if int(headers.get("content-length", "0")) > limit:
            raise too_large
        body = bytearray()
        async for piece in unpacked(response.aiter_stream(), headers.get_list("content-encoding")):
            body += piece
            if len(body) > limit:
                raise too_large
            hold(len(body))
        if not body:
            raise _failed(f"The URL answered with HTTP status {response.status} and an empty body.")
        return bytes(body)

    def _cause(self, error: Exception) -> str:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return "The server's certificate is not valid: it is expired, self-signed or made out to another name."
        # One text for a refused, a silent and a chattering port, so that a caller cannot tell them apart.
        return f"The URL could not be reached, or gave no whole HTTP answer within {self._policy.timeout_seconds:g} s."


def parse_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """The one parsed form, used for the check and for the fetch; relative to `base` when it comes from a redirect.

    Raises ScoringError `url-refused`: not an http or https URL with a plain host; the text never repeats the URL and
    its password.
    """
    if base is None and text.lstrip()[:5].lower() == "data:":
        raise _refused("Address not allowed: a data: URI holds the image itself; send it as image_in_base64.")
    if UNSAFE_CHARACTERS.search(text):
        raise _refused("Address not allowed: the URL holds a backslash or a control character.")
    try:
        url = httpx.URL(text) if base is None else base.join(text)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        raise _refused("Address not allowed: the URL is not valid; write one like https://host/image.jpg.") from None
    if url.scheme not in ("http", "https"):
        raise _refused("Address not allowed: the URL must begin with http:// or https://.")
    if url.userinfo:
        raise _refused("Address not allowed: the URL holds a user name or password; leave them out.")
    if ":" not in host and HOST_NAME.fullmatch(host) is None:
        raise _refused("Address not allowed: the URL's host is not a host name or an address.")
    if url.port is not None and not 0 < url.port < 65536:
        raise _refused("Address not allowed: the URL's port must lie between 1 and 65535.")
    return url


async def unpacked(stream: AsyncIterable[bytes], content_encodings: Iterable[str]) -> AsyncIterator[bytes]:
    """The pieces of a body without its Content-Encoding, which a server may apply though it was asked not to.

    Other tasks run between short steps, so that a bomb costs neither memory nor the event loop. Raises ScoringError
    `url-failed`.
    """
    try:
        opener = unpacker(content_encodings)
        async for piece in stream:
            if opener is None:
                yield piece
                continue
            for step in opener.unpacked(piece):
                yield step
                await asyncio.sleep(0)
        if opener is not None:
            opener.finish()
    except PackingError as error:
        raise _failed(f"The URL's answer {error}: look at its Content-Encoding.") from None


def _refused(detail: str) -> ScoringError:
    return ScoringError("url-refused", detail)


def _failed(detail: str) -> ScoringError:
    return ScoringError("url-failed", detail)
