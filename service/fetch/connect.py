"""Connects to a host by name only through addresses that are allowed.

The name is resolved once, here, where it is connected to: the address that was judged is the address that is reached,
whatever the name server answers next time.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address

import anyio
import httpcore

from service.fetch.addresses import Address, Allowlist, is_public, unmapped

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# A name server may answer with thousands of addresses; one request must not become that many connection attempts.
MAX_ATTEMPTS = 4


class AddressRefused(Exception):
    """The host is unknown, or none of its addresses is allowed; nothing was connected to."""


class CleanStream(httpcore.AsyncNetworkStream):
    """A connection that is closed when a deadline cancels its TLS handshake; httpcore 1.0 leaves it open."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Judges every address of a name and connects to the allowed ones in order.

    Allowed are the hosts and addresses of the allow-list and, with `public`, every public address.
    """

    def __init__(self, allowlist: Allowlist, resolver: Resolve, *, public: bool) -> None:
        self._allowlist = allowlist
        self._public = public
        self._resolver = resolver
        self._connector = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first allowed address that accepts one; they share `timeout`, in seconds.

        Raises:
            AddressRefused: no address is allowed. An unknown name reads the same, or a caller could tell which inner
                names exist.
            httpcore.ConnectError, httpcore.ConnectTimeout: no allowed address accepts; the last one's reason.
        """
        allowed = [address for address in await self._addresses(host, port) if self._permits(host, address)][
            :MAX_ATTEMPTS
        ]
        failure: Exception = AddressRefused()
        for address in allowed:
            share = None if timeout is None else timeout / len(allowed)
            try:
                stream = await self._connector.connect_tcp(str(address), port, share, local_address, socket_options)
                return CleanStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _permits(self, host: str, address: Address) -> bool:
        if self._allowlist.has_name(host) or self._allowlist.has_address(address):
            return True
        return self._public and is_public(address)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            return [unmapped(ip_address(host))]
        except ValueError:
            # A name, or a spelling such as 127.1 that only the system's resolver reads as an address.
            return [unmapped(ip_address(text)) for text in await self._resolver(host, port)]
