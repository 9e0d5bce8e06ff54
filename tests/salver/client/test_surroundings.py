"""A caller's machine as in any office: proxies and certificates in the environment."""

import contextlib
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner, Result

from salver.cli import build
from salver.client.errors import ServiceUnreachable, UnexpectedAnswer
from salver.client.result import Score
from salver.client.scoring import ScoringClient
from salver.deployment.deployment import Deployment
from salver.deployment.ready import wait_until_ready
from tests.salver.conftest import KEY, Service
from tests.support.images import photo
from tests.support.models import probe
from tests.support.proxy import ROUNDABOUT, Seen, http_proxy

NAME = "service.example"
ODD = ("*", "::1", "[::1]", "10.0.0.0/8", " ", ",,", "http://x", ":8000", "[::1", "%", "a b,c,")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ROUNDABOUT:
        for variable in (name, name.lower()):
            monkeypatch.delenv(variable, raising=False)


def port_of(service: Service) -> int:
    return int(service.url.rpartition(":")[2])


@pytest.fixture
def proxy(service: Service) -> Iterator[Seen]:
    with http_proxy({NAME: port_of(service)}) as seen:
        yield seen


def score(*words: str) -> Result:
    return CliRunner().invoke(build("score"), ["score", *words, "--key", KEY])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "service.localhost", "127.1", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_neither_key_nor_image_for_this_machine_reach_a_proxy(
    service: Service, proxy: Seen, monkeypatch: pytest.MonkeyPatch, host: str, case: object
) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable if case is str.upper else variable.lower(), proxy.url)
    url = f"http://{host}:{port_of(service)}"
    with (
        ScoringClient(url, KEY) as client,
        contextlib.suppress(ServiceUnreachable),  # of a name that this machine does not resolve, or no IPv6
    ):
        client.score(b"1")
    assert (proxy.lines, proxy.heads) == ([], [])
    if host == "127.0.0.1":
        assert service.images == [b"1"]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_service_elsewhere_is_reached_through_the_proxy(
    service: Service, proxy: Seen, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, proxy.url)
    with ScoringClient(f"http://{NAME}", KEY) as client:
        (result,) = client.score(b"1234")
    assert isinstance(result, Score)
    assert proxy.lines == [f"POST http://{NAME}/score"]


def test_what_no_proxy_names_is_reached_directly(proxy: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "localhost, .example")
    with (
        ScoringClient(f"http://{NAME}", KEY) as client,
        pytest.raises(ServiceUnreachable, match="could not be reached"),
    ):
        client.score(b"1")  # nobody but the proxy knows the name
    assert proxy.lines == []


@pytest.mark.parametrize("exempt", ODD)
def test_an_odd_no_proxy_ends_nothing(
    service: Service, proxy: Seen, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    with ScoringClient(service.url, KEY) as client:
        client.score(b"1")
    with ScoringClient(f"http://{NAME}", KEY) as client:
        if exempt != "*":
            client.score(b"1")
    assert len(proxy.lines) == (exempt != "*")


def test_a_proxy_that_wants_a_login_gets_the_one_in_its_variable(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_proxy({NAME: port_of(service)}, login="me:p@ss") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:p%40ss@"))
        with ScoringClient(f"http://{NAME}", KEY) as client:
            assert isinstance(client.score(b"1")[0], Score)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with (
            ScoringClient(f"http://{NAME}", KEY) as client,
            pytest.raises(UnexpectedAnswer, match=r"through the proxy that HTTP_PROXY names answered .* status 407"),
        ):
            client.score(b"1")


@pytest.mark.parametrize("value", ["socks5://proxy:1080", "http://[", "nonsense://proxy"])
def test_a_proxy_that_cannot_be_used_is_one_line_and_none_for_this_machine(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    monkeypatch.setenv("ALL_PROXY", value)
    ended = score(str(tmp_path / "a.jpg"), "--url", f"http://{NAME}")
    assert ended.exit_code == 2
    assert ended.stderr.startswith("salver score: ALL_PROXY ")
    assert ended.stderr.count("\n") == 1
    assert score(str(tmp_path / "a.jpg"), "--url", service.url).exit_code == 0


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with (
        ScoringClient(f"http://{NAME}", KEY) as client,
        pytest.raises(ServiceUnreachable, match=r"through the proxy that HTTP_PROXY names \(Connection refused\)"),
    ):
        client.score(b"1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority of the company's own, and a certificate of it for NAME and 127.0.0.1."""
    folder = tmp_path_factory.mktemp("authority")
    made = trustme.CA()
    made.cert_pem.write_to_path(str(folder / "authority.pem"))
    made.issue_cert(NAME, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    return folder


@contextlib.contextmanager
def tls(authority: Path) -> Iterator[int]:
    """A service over TLS; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'[{"label": "cup", "label_index": 0, "score": 1.0}]'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A caller that does not believe the certificate is what some tests are about."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_tls_goes_through_the_proxy_in_a_tunnel_that_it_cannot_look_into(
    authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "authority.pem"))
    with tls(authority) as port, http_proxy({NAME: port}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with ScoringClient(f"https://{NAME}", KEY) as client:
            assert isinstance(client.score(b"1")[0], Score)
        with ScoringClient(f"https://127.0.0.1:{port}", KEY) as client:
            assert isinstance(client.score(b"1")[0], Score)
    assert proxy.lines == [f"CONNECT {NAME}:443"]
    assert "Bearer" not in "".join(proxy.heads)


def test_a_proxy_may_itself_be_reached_over_tls(
    service: Service, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "authority.pem"))
    with http_proxy({NAME: port_of(service)}, tls=context) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with ScoringClient(f"http://{NAME}", KEY) as client:
            assert isinstance(client.score(b"1")[0], Score)
        monkeypatch.setenv("SSL_CERT_FILE", "/none.pem")
        with pytest.raises(ServiceUnreachable, match="SSL_CERT_FILE names /none"):
            ScoringClient(f"http://{NAME}", KEY)
    assert proxy.lines == [f"POST http://{NAME}/score"]


@pytest.mark.parametrize("fault", ["missing", "empty", "garbage"])
def test_certificates_that_cannot_be_read_are_one_line_and_none_without_tls(
    service: Service, authority: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    certificates = tmp_path / "certs.pem"
    if fault != "missing":
        certificates.write_bytes(b"" if fault == "empty" else b"\xff\xfe")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    (tmp_path / "a.jpg").write_bytes(b"1")
    with tls(authority) as port:
        ended = score(str(tmp_path / "a.jpg"), "--url", f"https://127.0.0.1:{port}")
    assert ended.exit_code == 2
    assert ended.stderr.startswith(f"salver score: SSL_CERT_FILE names {certificates}, which ")
    assert ended.stderr.count("\n") == 1
    assert score(str(tmp_path / "a.jpg"), "--url", service.url).exit_code == 0


@pytest.mark.server
@pytest.mark.slow
def test_an_office_changes_nothing_about_a_deployment_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Seen
) -> None:
    """A proxy, a SOCKS one; certificates that are not there, which what is sent to this machine needs none of."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:9")
    (tmp_path / "a.jpg").write_bytes(photo(48, 40))
    deployment = Deployment("one", probe(tmp_path / "model.onnx"))
    deployment.deploy()
    try:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        assert deployment.status().ready == 1
        assert isinstance(deployment.score_image(tmp_path / "a.jpg"), Score)
    finally:
        deployment.delete()
    assert proxy.lines == []


def test_the_wait_for_a_service_and_an_images_health_check_ask_this_machine_past_the_proxy(
    service: Service, proxy: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker hands the proxies of its own settings on to every container."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, proxy.url)
    wait_until_ready(service.url, timeout_seconds=60, alive=lambda: True)
    text = (Path(__file__).parents[3] / "Dockerfile.serve").read_text()
    (line,) = re.findall(r"HEALTHCHECK.*\\\n +CMD (\[.*\])", text)
    for port, code in ((port_of(service), 0), (9, 1)):
        words = [word.replace(":8000", f":{port}") for word in json.loads(line)]
        assert subprocess.run([sys.executable, *words[1:]], stderr=subprocess.DEVNULL, check=False).returncode == code
    assert proxy.lines == []
