"""What stands before the routes: HEAD, methods, slashes at the end, and errors by their kind."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.errors import ScoringError
from service.pages.routes import LANDING
from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

RED = solid((200, 30, 40))
PNG = {"Content-Type": "image/png"}
PAGES = ("/", "/docs", *(f"/page/{file.name}" for file in LANDING.iterdir()), "/docs/docs.js", "/docs/swagger-ui.css")
READABLE = (
    *("/healthz", "/readyz", "/metrics", "/model", "/openapi.json", *PAGES),
    *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/salver", "/v2/models/salver/ready"),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(probe(tmp_path_factory.mktemp("model") / "model.onnx")) as client:
        yield client


def stable(answer: httpx.Response) -> dict[str, str]:
    """The headers that are the same from request to request."""
    return {name: text for name, text in answer.headers.items() if name not in ("x-request-id", "date")}


@pytest.mark.parametrize("path", READABLE)
def test_head_is_answered_as_get_is_without_the_body(client: httpx.Client, path: str) -> None:
    """Monitors and link checkers ask so, and call a service down that answers 405."""
    got, head = client.get(path), client.head(path)
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    if path == "/metrics":  # its counts and their length change
        assert head.headers["content-type"] == got.headers["content-type"]
    else:
        assert stable(head) == stable(got)


def test_head_of_what_is_not_there_or_not_ready_is_the_error_of_get_without_the_body(client: httpx.Client) -> None:
    for path in ("/nothing", "/page/nothing", "/v2/models/other", "/v2/nothing"):
        got, head = client.get(path), client.head(path)
        assert (got.status_code, head.status_code, head.content) == (404, 404, b"")
        assert stable(head) == stable(got)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # the model never arrives
        running_service(
            f"http://127.0.0.1:{silent.getsockname()[1]}/model.onnx", until_ready=False, api_keys="a-long-enough-key"
        ) as unready,
    ):
        assert (unready.head("/readyz").status_code, unready.head("/readyz").content) == (503, b"")
        assert unready.head("/healthz").status_code == 200
        assert unready.head("/model").status_code == 401


def test_nothing_of_a_body_follows_a_head_on_the_wire_and_the_connection_stays(client: httpx.Client) -> None:
    port = client.base_url.port
    assert port is not None
    request = b"HEAD /nothing HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /score HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(request.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        first = caller.recv(65536)
        caller.sendall(request.partition(b"\r\n\r\n")[2])
        second = caller.recv(65536)
    assert first.startswith(b"HTTP/1.1 404 ")
    assert second.startswith(b"HTTP/1.1 405 ")
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b"\r\n\r\n")


def test_an_answer_without_a_body_counts_no_bytes(client: httpx.Client) -> None:
    def answered_bytes() -> float:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return next(family.samples[0].value for family in families if family.name == "salver_response_bytes")

    page = len(client.get("/metrics").content)
    before = answered_bytes()
    client.head("/docs/swagger-ui-bundle.js")  # more than a megabyte
    assert 0 < answered_bytes() - before < 2 * page


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        *((method, path, "GET, HEAD") for method in ("POST", "PUT", "OPTIONS") for path in ("/healthz", "/", "/docs")),
        *(("DELETE", path, "GET, HEAD") for path in READABLE),
        *((method, "/score", "POST") for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")),
        *((method, "/model/reload", "POST") for method in ("GET", "HEAD")),
        *((method, "/v2/models/salver/infer", "POST") for method in ("GET", "HEAD", "PUT")),
    ],
)
def test_a_method_that_is_not_there_is_told_which_are(client: httpx.Client, method: str, path: str, allow: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)


@pytest.mark.parametrize(
    "path",
    [
        *("/score/", "/model/", "/healthz/", "/readyz/", "/metrics/", "/docs/", "/openapi.json/", "/model/reload/"),
        *("/v2/", "/v2/models/salver/", "/v2/models/salver/infer/", "/v2/health/ready/", "/page/page.js/"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_slash_at_the_end_is_no_redirect_but_told(client: httpx.Client, method: str, path: str) -> None:
    """A redirect would lead to http:// behind a proxy that ends TLS, and drop a body on the way."""
    answer = client.request(method, path, headers={"X-Forwarded-Proto": "https", "Host": "localhost"})
    assert (answer.status_code, "location" in answer.headers) == (404, False)
    if method != "HEAD":
        said = answer.json()
        assert "leave out the slash" in (said["error"] if path.startswith("/v2") else said["detail"])


class Remembered(ScoringError):
    """Of a handled kind, as a library's own error may be."""


class Refused(HTTPException):
    """Another."""


class Gone(ClientDisconnect):
    """And another."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Remembered("overloaded", "later"), 429),
        (Refused(418, "no"), 418),
        (Gone(), 499),
        (type("_ArrayMemoryError", (MemoryError,), {})(), 429),
    ],
)
@pytest.mark.parametrize("path", ["/score", "/v2/models/salver/infer"])
def test_an_error_of_a_kind_below_a_handled_one_is_answered_as_that_one_and_the_connection_stays(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, path: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("service.api.score.read_head" if path == "/score" else "service.api.v2.infer.read_head", fail)
        assert client.post(path, content=b"{}").status_code == status
    assert client.post("/score", content=RED, headers=PNG).status_code == 200
