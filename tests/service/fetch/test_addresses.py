import random
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from service.fetch.addresses import Allowlist, is_public, unmapped

NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "168.63.129.16"),
    *("192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7"),
    *("203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1"),
    *("2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "2001:20::1", "5f00::1", "4000::1"),
]
EMBEDDED = {
    "IPv4-mapped": "::ffff:{0}",
    "IPv4-compatible": "::{0}",
    "IPv4-translated": "::ffff:0:{0}",
    "NAT64": "64:ff9b::{0}",
    "local NAT64": "64:ff9b:1::{0}",
}


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_a_special_address_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_an_ordinary_address_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("form", EMBEDDED.values(), ids=EMBEDDED)
@pytest.mark.parametrize("inner", ["127.0.0.1", "169.254.169.254", "10.0.0.1"])
def test_an_inner_ipv4_address_stays_refused_in_every_ipv6_wrapping(form: str, inner: str) -> None:
    assert not is_public(IPv6Address(form.format(inner)))


def test_6to4_and_teredo_are_refused_whatever_they_embed() -> None:
    assert not is_public(IPv6Address("2002:0808:0808::1"))
    assert not is_public(IPv6Address("2001:0:808:808::1"))


def test_a_public_ipv4_address_stays_public_when_mapped_or_behind_nat64() -> None:
    assert is_public(IPv6Address("::ffff:8.8.8.8"))
    assert is_public(IPv6Address("64:ff9b::8.8.8.8"))


def test_an_address_with_a_zone_is_refused() -> None:
    assert not is_public(IPv6Address("2606:4700::1111%eth0"))


def test_nothing_is_public_that_python_calls_private_multicast_or_reserved() -> None:
    numbers = random.Random(0)
    for _ in range(5000):
        address = IPv4Address(numbers.getrandbits(32))
        if is_public(address):
            assert address.is_global
            assert not address.is_multicast
        wide = IPv6Address(numbers.getrandbits(128))
        if is_public(wide):
            assert wide.is_global
            assert not wide.is_reserved


def test_a_mapped_address_is_reduced_to_the_ipv4_address_it_reaches() -> None:
    assert unmapped(ip_address("::ffff:7f00:1")) == ip_address("127.0.0.1")
    assert unmapped(ip_address("::1")) == ip_address("::1")


def test_a_listed_name_matches_in_any_case_and_spelling_and_nothing_but_itself() -> None:
    allowlist = Allowlist.parse(["Images.Example.COM", "Bücher.example."])
    assert allowlist.has_name("images.example.com")
    assert allowlist.has_name("images.example.com.")
    assert allowlist.has_name("xn--bcher-kva.example")
    assert not allowlist.has_name("a.images.example.com")
    assert not allowlist.has_name("evilimages.example.com")


@pytest.mark.parametrize("entry", ["*.cluster.local", ".cluster.local"])
def test_a_listed_domain_matches_the_names_below_it(entry: str) -> None:
    allowlist = Allowlist.parse([entry])
    assert allowlist.has_name("store.default.svc.cluster.local")
    assert not allowlist.has_name("cluster.local")
    assert not allowlist.has_name("evilcluster.local")


def test_a_listed_address_or_network_matches_its_addresses() -> None:
    allowlist = Allowlist.parse(["127.0.0.1", "10.1.0.0/16", "fd00::/8"])
    assert all(allowlist.has_address(ip_address(text)) for text in ("127.0.0.1", "10.1.255.1", "fd12::1"))
    assert not any(allowlist.has_address(ip_address(text)) for text in ("127.0.0.2", "10.2.0.1", "fe80::1"))


@pytest.mark.parametrize(
    "entry",
    [
        *("", "*", "a b", "http://a.example/", "a.example:80", "user@a.example"),
        *("127.1", "0x7f000001", "2130706433", "a..b"),
        *("010.0.0.1", "10.0.0.1/8", "10.0.0.0/99", "fe80::1%eth0", "::ffff:10.0.0.1", "a*.example", "１２７.0.0.1"),
    ],
)
def test_an_entry_that_is_no_name_address_or_network_is_named_in_the_error(entry: str) -> None:
    with pytest.raises(ValueError, match="allow-list entry") as caught:
        Allowlist.parse(["a.example", entry])
    assert f"'{entry}'" in str(caught.value)
