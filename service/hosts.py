"""Under which names a service on loopback may be asked.

A page that somebody opens in a browser on the same machine can turn a name of its own to 127.0.0.1 (DNS rebinding), and
its requests then come from the same origin. What they cannot change is the Host header, which says that name.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

LOCAL_ONLY = (
    "This service has no key and answers under localhost, 127.0.0.1 or [::1] only, and the Host header names another: "
    "ask under one of these, or give the service a key (SALVER_API_KEYS_FILE), or SALVER_ALLOW_ANONYMOUS=true where a "
    "proxy stands before it."
)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether that name or address, without a port, is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_local(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether every Host header, if there is one, names this machine's loopback. Header names are in lower case."""
    return all(is_loopback(_name(value.decode("latin-1"))) for name, value in headers if name == b"host")


def _name(host: str) -> str:
    """Without the port and an address's brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
