"""Heads and trailers that never end, and pieces around them that are in order."""

import base64
import json
from collections.abc import Iterator

import httpx
import pytest

from service.limits import connection
from tests.support.caller import Caller
from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

BODY = json.dumps({"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}).encode()
PIECE = 16 * 1024
BEGINNINGS = {
    "one long header": b"POST /score HTTP/1.1\r\nHost: localhost\r\nA: ",
    "a long address": b"GET /",
    "many headers": b"POST /score HTTP/1.1\r\nHost: localhost\r\n",
    "trailers": b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n",
    "a chunk's extension": b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1;",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(probe(tmp_path_factory.mktemp("model") / "model.onnx")) as client:
        yield client


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_a_head_or_trailer_that_does_not_end_ends_the_connection_at_the_limit(client: httpx.Client, kind: str) -> None:
    piece = b"A: bbbbbbbbbbbb\r\n" * (PIECE // 17) if kind in ("many headers", "trailers") else b"a" * PIECE
    with Caller(client) as caller:
        caller.socket.sendall(BEGINNINGS[kind])
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            caller.socket.sendall(piece * 1024)  # far more than the kernel's buffers take
    assert client.post("/score", content=BODY, headers={"Content-Type": "application/json"}).status_code == 200


def test_the_limit_is_answered_with_431(client: httpx.Client) -> None:
    with Caller(client) as caller:
        caller.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * connection.MAX_HEAD_BYTES)
        assert caller.status() == 431
        assert caller.is_closed()


def test_a_head_below_the_limit_and_requests_one_after_the_other_are_answered(client: httpx.Client) -> None:
    long = "A: " + "a" * (connection.MAX_HEAD_BYTES - 1000) + "\r\n"
    with Caller(client) as caller:
        for _ in range(3):
            caller.send(BODY, f"{long}Content-Length: {len(BODY)}\r\n")
            assert caller.status() == 200


def test_a_body_of_many_pieces_counts_as_no_head(client: httpx.Client) -> None:
    pieces = [BODY, *[b" " * 1000] * 200]
    headers = {"Content-Type": "application/json"}
    assert client.post("/score", content=iter(pieces), headers=headers).status_code == 200


def test_a_head_that_does_not_arrive_in_time_ends_the_connection(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.05)
    with Caller(client) as silent, Caller(client) as slow, Caller(client) as second:
        slow.socket.sendall(b"POST /score HTTP/1.1\r\nHost:")
        second.send(BODY, f"Content-Length: {len(BODY)}\r\n")
        assert second.status() == 200
        second.socket.sendall(b"POST /score")
        assert all(caller.is_closed() for caller in (silent, slow, second))


def test_no_memory_for_what_arrives_is_a_429_and_not_the_callers_fault(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the process with little memory meets it, in tests/prove/test_surroundings.py."""

    def no_memory(_: connection.Protocol, body: bytes) -> None:
        raise MemoryError(f"for {len(body)} bytes")

    with monkeypatch.context() as patched:
        patched.setattr(connection.Protocol, "on_body", no_memory)
        with Caller(client) as caller:
            caller.send(BODY, f"Content-Length: {len(BODY)}\r\n")
            assert (caller.status(), caller.header("retry-after")) == (429, "1")
            assert caller.is_closed()
    assert client.post("/score", content=BODY, headers={"Content-Type": "application/json"}).status_code == 200
