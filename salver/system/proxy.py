"""The proxy of the environment through which a URL is reached: one rule for whatever of ours asks another machine.

`http_proxy`, `https_proxy` and `all_proxy` name it, in small letters or in capitals; the small ones come first. This
machine is never reached through one: who sends there has a service of their own, and its key is no proxy's business.
`no_proxy` names what else is reached directly, by commas or blanks: `*`, a name (with all names below it), an address,
a network such as 10.0.0.0/8, each but `*` and a network with a port where only that is meant. A scheme before a name is
read over, and so is an entry that means nothing.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, quote, unquote, urlsplit

from salver.errors import VariableError

PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+")


@dataclass(frozen=True)
class Proxy:
    """A proxy that speaks HTTP. `variable` names it; `url` has its user and password, where it wants them."""

    variable: str
    scheme: str
    host: str
    port: int
    url: str = field(repr=False)
    user: str = field(repr=False, default="")
    password: str = field(repr=False, default="")


def proxy_for(url: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """None where the URL is reached directly, and for what is no http(s) URL: whoever sends it says so.

    Raises VariableError when the proxy that is named cannot be used; its value, which can be a secret, is not repeated.
    """
    environment = os.environ if environment is None else environment
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.scheme not in PORTS or not host or is_this_machine(host):
        return None
    variable, value = _named(parts.scheme, environment)
    _, exempt = _value("no_proxy", environment)
    if not value or any(_covers(entry, host, port) for entry in re.split(r"[\s,]+", exempt) if entry):
        return None
    return _parsed(variable, value)


def is_this_machine(host: str) -> bool:
    """Whether a name or address, without a port or brackets, is loopback, however it is written, or "any address"."""
    address = _address(host)
    if address is None:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _named(scheme: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """The variable that names the scheme's proxy, and what it says; empty when there is none."""
    variable, value = _value(f"{scheme}_proxy", environment)
    return (variable, value) if value else _value("all_proxy", environment)


def _value(variable: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """An empty one in small letters takes one in capitals back, as Python's own reading has it."""
    name = variable if variable in environment else variable.upper()
    return name, environment.get(name, "").strip()


def _parsed(variable: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, host, port = SplitResult("", "", "", "", ""), "", 0
    if parts.scheme.startswith("socks"):
        raise VariableError(
            f"{variable} names a SOCKS proxy, which Salver cannot use: set it to an HTTP proxy (http://HOST:PORT), "
            "unset it, or name the host in NO_PROXY."
        )
    if parts.scheme not in PORTS or not _HOST.fullmatch(host):
        raise VariableError(f"{variable} is not the address of a proxy: write http://HOST:PORT, or unset it.")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    place = f"[{host}]" if ":" in host else host
    return Proxy(variable, parts.scheme, host, port, f"{parts.scheme}://{login}{place}:{port}", user, password)


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    network, address = _network(entry.strip("[]")), _address(host)
    if network is not None:
        return address is not None and address in network
    try:
        parts = urlsplit(f"//{entry.rpartition('://')[2]}")
        name, only = (parts.hostname or "").lstrip("*").strip("."), parts.port
    except ValueError:
        return False
    if not name or only not in (None, port):
        return False
    if address is not None:
        return _address(name) == address
    return f".{host.lower()}".endswith(f".{name}")


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The IPv4 address inside an IPv4-mapped one; also those written in the old way, such as 127.1. None for a name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return _old_form(host)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _old_form(host: str) -> IPv4Address | None:
    try:
        return IPv4Address(socket.inet_aton(host)) if re.fullmatch(r"[0-9a-fA-FxX.]+", host) else None
    except OSError:
        return None
