"""A load generator's machine as in any office: proxies and certificates in the environment."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from loadtest.results.scrape import read
from tests.loadtest.generator import SMALL, command, environment, load
from tests.loadtest.stub import Stub, running
from tests.support.proxy import ROUNDABOUT, http_proxy

NAME = "service.example"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ROUNDABOUT:
        for variable in (name, name.lower()):
            monkeypatch.delenv(variable, raising=False)


@pytest.mark.slow
def test_a_service_of_this_machine_is_loaded_past_every_proxy_and_without_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_proxy({}) as proxy:
        for variable, value in {
            "HTTP_PROXY": proxy.url,
            "http_proxy": proxy.url,
            "ALL_PROXY": "socks5://127.0.0.1:9",
            "NO_PROXY": "[::1,10.0.0.0/8, ,http://x",
            "SSL_CERT_FILE": str(tmp_path / "none.pem"),
        }.items():
            monkeypatch.setenv(variable, value)
        ran = load(Stub(), tmp_path, ["--users", "1", "--run-time", "3", "--key", "secret-key"])
    assert ran.code == 0
    assert ran.stub.seen[200] > 1
    assert (proxy.lines, proxy.heads) == ([], [])


@pytest.mark.slow
def test_a_service_elsewhere_is_loaded_through_the_proxy_with_its_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(Stub()) as stub, http_proxy({NAME: int(stub.url.rpartition(":")[2])}, login="me:p@ss") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:p%40ss@"))
        line = command(f"http://{NAME}", *SMALL, "--users", "1", "--run-time", "3")
        ended = subprocess.run(line, capture_output=True, text=True, env=environment(), check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    asked = Counter(line.replace(":80/", "/") for line in proxy.lines)
    assert asked[f"POST http://{NAME}/score"] >= stub.seen[200] > 1
    assert asked[f"GET http://{NAME}/metrics"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "variable", "value", "words"),
    [
        (f"http://{NAME}", "ALL_PROXY", "socks5://127.0.0.1:9", "ALL_PROXY names a SOCKS proxy"),
        (
            f"http://{NAME}",
            "HTTP_PROXY",
            "https://127.0.0.1:9",
            "HTTP_PROXY names a proxy that is itself reached over TLS",
        ),
        (f"https://{NAME}", "SSL_CERT_FILE", "/none.pem", "SSL_CERT_FILE names /none.pem, which cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_line_before_the_run(
    monkeypatch: pytest.MonkeyPatch, host: str, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    ended = subprocess.run(
        command(host, *SMALL, "--run-time", "3"), capture_output=True, text=True, env=environment(), check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"load test: {words}")
    assert ended.stderr.count("\n") == 1


def test_metrics_of_a_host_that_cannot_be_reached_so_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert read(f"http://{NAME}/metrics", 0.0) is None
