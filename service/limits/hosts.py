"""Under which names a service on loopback may be asked.

A page that somebody opens in a browser on the same machine can turn a name of its own to 127.0.0.1 (DNS rebinding), and
its requests then come from the same origin. What they cannot change is the Host header, which says that name.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from service.fetch.addresses import Address, unmapped

LOCAL_ONLY = (
    "This service has no key and answers under localhost, 127.0.0.1 or [::1] only, and the Host header names another: "
    "ask under one of these, or give the service a key (SALVER_API_KEYS_FILE), or SALVER_ALLOW_ANONYMOUS=true where a "
    "proxy stands before it."
)


class LoopbackOnly(BaseRoute):
    """A route before all others, for requests to other hosts than this machine's loopback: they are refused."""

    path = ""
    """It is no place."""

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_foreign = scope["type"] == "http" and not is_local(scope["headers"])
        return (Match.FULL if is_foreign else Match.NONE), {}

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(421, LOCAL_ONLY)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether that name or address, without a port, is this machine's own."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_local(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether every Host header, if there is one, names this machine's loopback. Header names are in lower case."""
    return all(is_loopback(_name(value.decode("latin-1"))) for name, value in headers if name == b"host")


def plain_host(host: str) -> str:
    """A host to listen on, without an address's brackets; of an IPv4-mapped address, the IPv4 one."""
    address = _address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    return host if address is None else str(address)


def shown_address(host: str, port: int) -> str:
    """Where a service that listens on a plain host is to be found: an address that can be opened on this machine."""
    address = _address(host)
    if address is not None and address.is_unspecified:
        return f"http://127.0.0.1:{port} and every other address of this machine"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _address(text: str) -> Address | None:
    """The address; None when it is a name."""
    try:
        return unmapped(ip_address(text))
    except ValueError:
        return None


def _name(host: str) -> str:
    """Without the port and an address's brackets; an address without them, which no URL has, is none with a port."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name if port[:1] in ("", ":") else ""
    return host if host.count(":") > 1 else host.partition(":")[0]
