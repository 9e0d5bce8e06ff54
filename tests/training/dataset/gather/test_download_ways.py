"""`salver build` in an office: through the environment's proxy, and this machine directly."""

import json
import ssl
from pathlib import Path

import pytest
import trustme

from tests.support.images import photo
from tests.support.proxy import ROUNDABOUT, http_proxy
from tests.training.dataset.gather.web import Answer, openverse_page, web_site
from training.dataset.gather.build import BuildReport, build
from training.dataset.gather.download import DownloadLimits
from training.dataset.gather.providers import Openverse, Provider
from training.dataset.gather.spec import QuerySource, Source, UrlSource
from training.progress import Silent

NAME = "photos.example"
LIMITS = DownloadLimits(retries=0, timeout_seconds=20)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ROUNDABOUT:
        for variable in (name, name.lower()):
            monkeypatch.delenv(variable, raising=False)


def built(out: Path, *sources: Source, provider: Provider | None = None) -> BuildReport:
    return build(sources, out, provider, per_query=5, limits=LIMITS, progress=Silent())


def reasons(report: BuildReport) -> dict[str, str]:
    return {failure.source: failure.reason for failure in report.failures}


def pages(*seeds: int) -> dict[str, Answer]:
    return {f"/{seed}.jpg": Answer(photo(96, 80, seed)) for seed in seeds}


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_photos_of_another_host_come_through_the_proxy_and_those_of_this_machine_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with web_site(pages(1, 2)) as site, http_proxy({NAME: int(site.address.rpartition(":")[2])}) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        urls = [UrlSource("cup", f"http://{NAME}/1.jpg"), UrlSource("cup", site.url("/2.jpg"))]
        report = built(tmp_path / "out", *urls)
    assert (report.added, reasons(report)) == (2, {})
    assert proxy.lines == [f"GET http://{NAME}/1.jpg"]


def test_each_step_of_a_redirect_goes_the_way_of_its_own_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From this machine to another host, and from that one back."""
    with web_site(pages(1)) as site, http_proxy({NAME: int(site.address.rpartition(":")[2])}) as proxy:
        site.pages["/out"] = Answer(status=302, place=f"http://{NAME}/back")
        site.pages["/back"] = Answer(status=302, place=site.url("/1.jpg"))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        report = built(tmp_path / "out", UrlSource("cup", site.url("/out")))
    assert (report.added, reasons(report)) == (1, {})
    assert proxy.lines == [f"GET http://{NAME}/back"]


def test_what_no_proxy_names_is_fetched_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_proxy({}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "a.example, .example,")
        report = built(tmp_path / "out", UrlSource("cup", f"http://{NAME}/1.jpg"))
    assert list(reasons(report)) == [f"http://{NAME}/1.jpg"]  # nobody knows that name
    assert proxy.lines == []


def test_queries_are_asked_through_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_site(pages(1)) as site, http_proxy({NAME: int(site.address.rpartition(":")[2])}) as proxy:
        site.pages["/images"] = openverse_page([f"http://{NAME}/1.jpg"], 1, 1)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        report = built(tmp_path / "out", QuerySource("cup", "cup"), provider=Openverse(f"http://{NAME}/images"))
    assert (report.added, reasons(report)) == (1, {})
    assert len(proxy.lines) == 2


def test_tls_goes_through_a_tunnel_and_the_companys_certificates_are_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    with web_site(pages(1), context) as site, http_proxy({NAME: int(site.address.rpartition(":")[2])}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        report = built(tmp_path / "out", UrlSource("cup", f"https://{NAME}/1.jpg"))
    assert (report.added, reasons(report)) == (1, {})
    assert proxy.lines == [f"CONNECT {NAME}:443"]


@pytest.mark.parametrize(
    ("variable", "value", "url", "words"),
    [
        ("ALL_PROXY", "socks5://me:secret@127.0.0.1:9", f"http://{NAME}/1.jpg", "ALL_PROXY names a SOCKS proxy"),
        ("HTTP_PROXY", "http://[", f"http://{NAME}/1.jpg", "HTTP_PROXY is not the address of a proxy"),
        (
            "SSL_CERT_FILE",
            "/none.pem",
            "https://127.0.0.1:9/1.jpg",
            "SSL_CERT_FILE names /none.pem, which cannot be read",
        ),
        ("SSL_CERT_DIR", "/none", "https://127.0.0.1:9/1.jpg", "SSL_CERT_DIR names /none, which cannot be read"),
    ],
)
def test_a_variable_that_cannot_be_used_is_the_fault_of_the_urls_that_need_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, url: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("NO_PROXY", "[::1, ,10.0.0.0/8,http://x,:80,%")
    with web_site(pages(1)) as site:
        report = built(tmp_path / "out", UrlSource("cup", url), UrlSource("cup", site.url("/1.jpg")))
        asked = built(tmp_path / "asked", QuerySource("cup", "cup"), provider=Openverse(url))
    assert report.added == 1
    assert reasons(report)[url].startswith(f"cannot be fetched: {words}")
    assert reasons(asked)["query 'cup'"].startswith(f"openverse cannot be reached: {words}")
    assert "secret" not in json.dumps([*reasons(report).values(), *reasons(asked).values()])
