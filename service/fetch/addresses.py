"""Which IP addresses an image URL may lead to.

The rule is written out here because `ipaddress.is_global` counts multicast and most of 192.0.0.0/24 as global and
changes between patch releases of Python. A public address is

* IPv4: anything outside `SPECIAL_IPV4`;
* IPv4-mapped (::ffff:0:0/96) and NAT64 (64:ff9b::/96, RFC 6052): what the embedded IPv4 address is;
* other IPv6: inside 2000::/3 and outside `SPECIAL_IPV6`, with no zone. Loopback, link-local, unique local, multicast,
  IPv4-compatible and local NAT64 (64:ff9b:1::/48) addresses all lie outside 2000::/3.

Sources: the IANA special-purpose address registries (RFC 6890, RFC 8190).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Self

import idna

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SPECIAL_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and one cloud's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a public address at which a cloud serves metadata to its virtual machines
        "169.254.0.0/16",  # link-local, and most clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and one cloud's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
GLOBAL_UNICAST = IPv6Network("2000::/3")
SPECIAL_IPV6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, withdrawn: the packet may go to any IPv4 address
        "3fff::/20",  # documentation
    )
)
IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")

_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?")
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\Z")


def unmapped(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped one, else the address itself: both reach the same host."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_public(address: Address) -> bool:
    """Whether the address is one on the public internet, by the rule at the head of this file."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    if address.scope_id is not None:
        return False
    if address in IPV4_MAPPED or address in NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    return address in GLOBAL_UNICAST and not any(address in network for network in SPECIAL_IPV6)


@dataclass(frozen=True)
class Allowlist:
    """Hosts and networks that may be reached whether they are public or not."""

    names: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Host names, `*.domain` or `.domain` (every name below it), addresses and networks such as 10.1.0.0/16.

        Raises:
            ValueError: names the entry that is none of these.
        """
        names: set[str] = set()
        domains: list[str] = []
        networks: list[Network] = []
        for entry in entries:
            if (network := _network(entry)) is not None:
                networks.append(network)
            elif entry.startswith(("*.", ".")):
                domains.append("." + _name(entry.removeprefix("*").removeprefix("."), entry))
            else:
                names.add(_name(entry, entry))
        return cls(frozenset(names), tuple(domains), tuple(networks))

    def has_name(self, host: str) -> bool:
        """Whether the host (lower case, IDNA-encoded) is listed by name."""
        host = host.removesuffix(".")
        return host in self.names or host.endswith(self.domains)

    def has_address(self, address: Address) -> bool:
        """Whether the address, which has been unmapped, lies in a listed network."""
        return any(address in network for network in self.networks)


def _network(entry: str) -> Network | None:
    """The entry as a network; None when it has to be a name."""
    try:
        network = ip_network(entry)
    except ValueError as error:
        if "host bits" in str(error):
            lies_in = ip_network(entry, strict=False)
            raise ValueError(f"allow-list entry '{entry}' is not a network; write '{lies_in}' if you mean it") from None
        return None
    if "%" in entry or (isinstance(network, IPv6Network) and network.subnet_of(IPV4_MAPPED)):
        raise ValueError(f"allow-list entry '{entry}' has a zone or maps IPv4; write the plain address or network")
    return network


def _name(text: str, entry: str) -> str:
    """The name in the form in which a URL's host is compared: lower case, IDNA, no final dot."""
    try:
        name = text.lower() if text.isascii() else idna.encode(text.lower()).decode("ascii")
    except idna.IDNAError:
        name = ""
    if HOST_NAME.fullmatch(name) is None or _NUMERIC_END.match(name):
        raise ValueError(
            f"allow-list entry '{entry}' is no host name, address or network; write one like images.example.com, "
            "*.example.com, 10.1.2.3 or 10.1.0.0/16"
        )
    return name.removesuffix(".")
