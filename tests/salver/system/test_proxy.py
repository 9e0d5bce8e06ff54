"""Which proxy a URL is reached through."""

import pytest

from salver.errors import VariableError
from salver.system.proxy import is_this_machine, proxy_for

OFFICE = {"HTTP_PROXY": "http://proxy:3128", "HTTPS_PROXY": "http://proxy:3129"}
LOOPBACK = (
    *("127.0.0.1", "127.0.0.1:8000", "127.8.9.10", "localhost", "LOCALHOST:80", "localhost.", "a.localhost", "[::1]"),
    *("[::1]:8000", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:80", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"),
    *("0.0.0.0:8000", "[::]:8000", "user:pass@127.0.0.1"),
)
ELSEWHERE = ("example.com", "10.0.0.1", "128.0.0.1", "127.0.0.1.example.com", "localhost.example.com", "notlocalhost")


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_reached_directly_however_it_is_written(host: str, scheme: str) -> None:
    named = OFFICE | {"ALL_PROXY": "socks5://proxy", "all_proxy": "socks5h://proxy", "NO_PROXY": "example.com"}
    assert proxy_for(f"{scheme}://{host}/score", named) is None


@pytest.mark.parametrize("host", [*ELSEWHERE, "[2001:db8::1]", "[::ffff:10.0.0.1]"])
def test_any_other_host_is_reached_through_the_proxy(host: str) -> None:
    proxy = proxy_for(f"http://{host}/score", OFFICE)
    assert proxy is not None
    assert (proxy.variable, proxy.url) == ("HTTP_PROXY", "http://proxy:3128")
    assert not is_this_machine(host.strip("[]"))


@pytest.mark.parametrize(
    ("environment", "variable", "port"),
    [
        ({"http_proxy": "proxy:1", "HTTP_PROXY": "proxy:2", "all_proxy": "proxy:3"}, "http_proxy", 1),
        ({"HTTP_PROXY": "proxy:2", "ALL_PROXY": "proxy:3"}, "HTTP_PROXY", 2),
        ({"ALL_PROXY": "proxy:3", "HTTPS_PROXY": "proxy:4"}, "ALL_PROXY", 3),
        ({"http_proxy": "", "HTTP_PROXY": "proxy:2", "all_proxy": "proxy:5"}, "all_proxy", 5),
        ({"HTTP_PROXY": " http://proxy:6/ "}, "HTTP_PROXY", 6),
        ({"HTTP_PROXY": "https://[2001:db8::1]"}, "HTTP_PROXY", 443),
    ],
)
def test_small_letters_come_first_and_the_schemes_own_before_that_for_all(
    environment: dict[str, str], variable: str, port: int
) -> None:
    proxy = proxy_for("http://example.com", environment)
    assert proxy is not None
    assert (proxy.variable, proxy.port) == (variable, port)


@pytest.mark.parametrize("environment", [{}, {"http_proxy": "", "HTTP_PROXY": "proxy"}, {"HTTPS_PROXY": "proxy"}])
def test_without_one_for_its_scheme_a_url_is_reached_directly(environment: dict[str, str]) -> None:
    assert proxy_for("http://example.com", environment) is None


@pytest.mark.parametrize(
    ("url", "exempt"),
    [
        ("http://example.com", "*"),
        ("http://example.com", "a.example, * ,"),
        ("http://example.com", " ,,example.com,"),
        ("http://www.example.com", "example.com"),
        ("http://www.example.com", ".example.com"),
        ("http://www.example.com", "*.example.com"),
        ("http://WWW.Example.com.", "EXAMPLE.com."),
        ("http://example.com", "http://example.com"),
        ("http://example.com", "https://example.com:80/path"),
        ("http://example.com:8080", "example.com:8080"),
        ("http://example.com", "a.example example.com"),
        ("http://10.1.2.3", "10.0.0.0/8"),
        ("http://10.1.2.3", "10.1.2.3"),
        ("http://10.1.2.3:8000", "10.1.2.3:8000"),
        ("http://[::ffff:10.1.2.3]", "10.0.0.0/8"),
        ("http://[2001:db8::1]", "2001:db8::1"),
        ("http://[2001:db8::1]", "[2001:db8::1]"),
        ("http://[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("http://[2001:db8::1]", "2001:db8::/32"),
    ],
)
def test_what_no_proxy_names_is_reached_directly(url: str, exempt: str) -> None:
    assert proxy_for(url, OFFICE | {"NO_PROXY": exempt}) is None
    assert proxy_for(url, OFFICE | {"no_proxy": exempt, "NO_PROXY": "nothing.example"}) is None


@pytest.mark.parametrize(
    "exempt",
    [
        *("", " ", ",", "8080", ":8080", "::1", "[::1]", "[::1", "::1]", "http://", "http://x", "http://[", "//", "%"),
        *("10.0.0.0/8", "10.0.0.0/99", "ample.com", "www.example.com", "example.com:8080", "example.com:port", "[]"),
        *("example.com:99999", "**", "\udcff", "exa mple.com/../x", "1.2.3.4/", "fe80::1%eth0", "."),
    ],
)
def test_an_odd_entry_of_no_proxy_means_nothing_and_ends_nothing(exempt: str) -> None:
    proxy = proxy_for("http://example.com", OFFICE | {"NO_PROXY": exempt})
    assert proxy is not None


@pytest.mark.parametrize(
    "value", ["socks5://proxy:1080", "socks5h://a:secret@proxy", "SOCKS4://proxy", "socks://proxy"]
)
@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "http_proxy"])
def test_a_socks_proxy_is_named_with_what_to_do(variable: str, value: str) -> None:
    with pytest.raises(VariableError, match=f"{variable} names a SOCKS proxy.* set it to an HTTP proxy") as refusal:
        proxy_for("http://example.com", {variable: value})
    assert "secret" not in str(refusal.value)
    assert proxy_for("http://example.com", {variable: value, "no_proxy": "example.com"}) is None


@pytest.mark.parametrize(
    "value",
    [
        *("http://", "://", "http://[::1", "ftp://proxy:21", "http://proxy:port", "http://proxy:99999", "http:// /"),
        *("a b:1", "http://secret@", "\x00", "http://pro\x1bxy", "proxy,other:1"),
    ],
)
def test_what_is_no_address_of_a_proxy_is_named_without_repeating_it(value: str) -> None:
    with pytest.raises(VariableError, match="HTTP_PROXY is not the address of a proxy") as refusal:
        proxy_for("http://example.com", {"HTTP_PROXY": value})
    assert "secret" not in str(refusal.value)


def test_a_login_is_kept_out_of_what_is_printed() -> None:
    proxy = proxy_for("http://example.com", {"HTTP_PROXY": "http://me:p%40ss%2Fword@proxy:1"})
    assert proxy is not None
    assert (proxy.user, proxy.password, proxy.url) == ("me", "p@ss/word", "http://me:p%40ss%2Fword@proxy:1")
    assert "word" not in repr(proxy)


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "http://", "http://[::1", "http://a:port"])
def test_what_is_no_url_has_no_proxy(url: str) -> None:
    assert proxy_for(url, OFFICE) is None
