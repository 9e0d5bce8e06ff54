"""Every part of a connection has an end, whatever the caller does, and callers who are only slow are answered."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.limits import connection
from service.limits.request import Keys
from service.service import Service
from service.settings import Settings
from tests.service.limits.test_memory import MIB, Memory
from tests.support.caller import Caller
from tests.support.images import solid
from tests.support.live import free_port, running_service, service_process, wait_until_ready
from tests.support.models import probe

pytestmark = pytest.mark.server

RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
BODY = json.dumps(RED).encode()
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE_FILE = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[httpx.Client]:
    with running_service(model, api_keys="key", request_timeout_seconds=2, max_body_bytes=100_000) as client:
        client.headers["Authorization"] = "Bearer key"
        yield client


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that a test can wait for."""
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.05)
    for name in ("IDLE_SECONDS", "REST_SECONDS", "PARTING_SECONDS"):
        monkeypatch.setattr(connection, name, 0.3)


def scores(client: httpx.Client) -> bool:
    return client.post("/score", json=RED).status_code == 200


@pytest.mark.parametrize("count", [2, 3, 1000])
def test_a_second_request_before_the_firsts_answer_is_the_end_after_that_answer(
    client: httpx.Client, count: int
) -> None:
    with Caller(client) as caller:
        caller.send(BODY + GET * (count - 1), f"Content-Length: {len(BODY)}\r\n")
        assert caller.status() == 200
        assert caller.header("connection") == "close"
        assert caller.is_closed()


def test_one_request_after_the_others_answer_keeps_the_connection(client: httpx.Client) -> None:
    with Caller(client) as caller:
        for _ in range(50):
            caller.send(BODY, f"Content-Length: {len(BODY)}\r\nConnection: keep-alive\r\n")
            assert caller.status() == 200
            caller.socket.sendall(GET)
            assert caller.status() == 200


def test_a_request_to_speak_another_protocol_is_answered_in_this_one(client: httpx.Client) -> None:
    """As curl --http2 sends it."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    with Caller(client) as caller:
        for _ in range(3):
            caller.socket.sendall(GET.removesuffix(b"\r\n") + upgrade)
            assert caller.status() == 200


REFUSED = {
    "without a key": ("POST /score", "", 401),
    "with a wrong key": ("POST /score", "Authorization: Bearer no\r\n", 401),
    "at no address": ("POST /nothing", "", 404),
    "with a wrong method": ("PUT /score", "", 405),
    "of a wrong type": ("POST /score", "Authorization: Bearer key\r\nContent-Type: text/plain\r\n", 415),
}
FORMS = {"long": ("Content-Length: 9999999999\r\n", b"a"), "chunked": ("Transfer-Encoding: chunked\r\n", b"1\r\na\r\n")}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("form", FORMS)
def test_after_a_refusal_a_body_that_drips_is_the_end_in_so_many_seconds(
    client: httpx.Client, refused: str, form: str
) -> None:
    (target, headers, status), (length, piece) = REFUSED[refused], FORMS[form]
    with Caller(client) as caller:
        caller.socket.sendall(f"{target} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n".encode())
        assert caller.status() == status
        assert caller.header("connection") == "close"
        assert seconds_until_closed(caller, piece) < 2


@pytest.mark.usefixtures("hurried")
def test_after_a_refusal_a_short_body_that_drips_is_the_end_too(client: httpx.Client) -> None:
    with Caller(client) as caller:
        caller.send(b"", "Content-Length: 60000\r\n", key="no")
        assert caller.status() == 401
        assert caller.header("connection") is None
        assert seconds_until_closed(caller, b"a") < 2


def seconds_until_closed(caller: Caller, piece: bytes, every_seconds: float = 0.05) -> float:
    """With a piece now and then."""
    began = time.perf_counter()
    with suppress(ConnectionError):
        while time.perf_counter() - began < 10:
            caller.socket.sendall(piece)
            time.sleep(every_seconds)
    return time.perf_counter() - began


def send_without_end(caller: Caller, piece: bytes) -> None:
    for _ in range(1000):
        caller.socket.sendall(piece)


@pytest.mark.parametrize("form", ["long", "chunked", "one byte"])
def test_after_a_refusal_a_body_without_end_is_thrown_away_up_to_a_limit(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(connection, "PARTING_BYTES", 2 * MIB)
    monkeypatch.setattr(connection, "PARTING_SECONDS", 60)
    length = FORMS["long" if form == "long" else "chunked"][0]
    piece = {"long": b"a" * 65536, "chunked": b"10000\r\n" + b"a" * 65536 + b"\r\n", "one byte": b"1\r\na\r\n" * 10_000}
    with Caller(client) as caller:
        caller.send(b"", length, key="no")
        assert caller.status() == 401
        with pytest.raises(ConnectionError):
            send_without_end(caller, piece[form])


@pytest.mark.parametrize("piece", [b"1\r\n \r\n" * 1000, (b"1;" + b"a" * 4096 + b"\r\n \r\n") * 10])
def test_with_a_key_chunks_that_are_hardly_anything_but_frame_are_the_end(client: httpx.Client, piece: bytes) -> None:
    with Caller(client) as caller:
        caller.send(b"", "Transfer-Encoding: chunked\r\n")
        with pytest.raises(ConnectionError):
            send_without_end(caller, piece)


def test_chunks_of_a_hundred_bytes_are_read_at_any_length(client: httpx.Client) -> None:
    body = BODY + b" " * (90_000 - len(BODY))
    pieces = (body[at : at + 112] for at in range(0, len(body), 112))
    assert client.post("/score", content=pieces, headers={"Content-Type": "application/json"}).status_code == 200


@pytest.mark.usefixtures("hurried")
def test_an_idle_connection_ends_in_time(client: httpx.Client) -> None:
    with Caller(client) as caller:
        caller.socket.sendall(GET)
        assert caller.status() == 200
        assert caller.is_closed()


def unread(client: httpx.Client, request: bytes) -> Caller:
    """A caller who asks and does not read."""
    caller = Caller(client)
    caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    caller.socket.sendall(request)
    return caller


@pytest.mark.usefixtures("hurried")
def test_an_answer_that_nobody_reads_is_the_end_in_the_time_of_a_request(client: httpx.Client) -> None:
    with unread(client, LARGE_FILE) as caller:
        time.sleep(2.5)
        with pytest.raises(ConnectionResetError):
            caller.socket.sendall(GET * 100_000)


def test_an_answer_that_is_read_slowly_is_read_whole(client: httpx.Client) -> None:
    size = len(client.get("/docs/swagger-ui-bundle.js").content)
    with Caller(client) as caller:
        caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # a twentieth, or less, at a time
        caller.socket.sendall(LARGE_FILE)
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < size:
            piece = caller.socket.recv(size // 20)
            assert piece, "the connection was closed before the whole answer"
            received += piece
            time.sleep(0.01)


def test_a_slow_but_moving_caller_is_scored(client: httpx.Client) -> None:
    body = BODY + b" " * 50_000
    with Caller(client) as caller:
        caller.send(b"", f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n")
        assert caller.status() == 100
        for start in range(0, len(body), 4000):
            caller.socket.sendall(body[start : start + 4000])
            time.sleep(0.08)
        assert caller.status() == 200


@pytest.mark.anyio
async def test_a_requests_memory_is_held_until_its_answer_has_been_sent(model: Path) -> None:
    service = Service(Settings(model=str(model)), Keys([]))
    app = create_app(service)
    held: list[int] = []

    async def send(message: dict[str, object]) -> None:
        held.append(service.budget.held_bytes)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    scope = {"type": "http", "method": "POST", "path": "/score", "query_string": b"", "headers": headers, "app": app}
    async with app.router.lifespan_context(app):
        assert service._loading is not None
        await service._loading
        await app(scope, receive, send)  # type: ignore[arg-type]
    assert len(held) == 2
    assert min(held) >= len(BODY)
    assert service.budget.held_bytes == 0


@pytest.mark.slow
def test_requests_without_end_and_without_a_key_cost_neither_memory_nor_others_time(model: Path) -> None:
    """Pipelined heads, and chunks of a byte after a refusal, from four callers each, for two seconds."""
    port, ends = free_port(), 0.0
    head = b"POST /score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    kinds = [(b"", GET * 1000), (head, b"1\r\na\r\n" * 10_000)]

    def attack(begin: bytes, piece: bytes) -> None:
        while time.monotonic() < ends:
            with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall(begin)
                while time.monotonic() < ends:
                    caller.sendall(piece)

    with (
        service_process(model, port, SALVER_DRAIN_SECONDS="0", SALVER_API_KEYS="key") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        wait_until_ready(client)
        memory = Memory(process.pid)
        before = memory.now()
        ends = time.monotonic() + 2.5
        threads = [threading.Thread(target=attack, args=kind) for kind in kinds * 4]
        for thread in threads:
            thread.start()
        seconds = []
        while time.monotonic() < ends:
            began = time.perf_counter()
            assert client.get("/readyz").status_code == 200
            seconds.append(time.perf_counter() - began)
        for thread in threads:
            thread.join()
        assert memory.peak() - before < 24 * MIB
    assert sorted(seconds)[len(seconds) // 2] < 0.1
    assert max(seconds) < 0.5


def misbehaving(client: httpx.Client, count: int) -> Iterator[Caller]:
    """Callers of every kind, each of whom has begun."""
    begins = (
        b"",
        b"POST /score HTTP/1.1\r\nHost: loc",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
        b"POST /score HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer key\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n",
        b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        LARGE_FILE,
        GET,
    )
    for number in range(count):
        yield unread(client, begins[number % len(begins)])


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        pytest.param(70, 2, marks=pytest.mark.slow),
        pytest.param(500, 30, marks=[pytest.mark.soak, pytest.mark.timeout(200)]),
    ],
)
def test_sigterm_ends_the_service_in_time_whatever_its_connections_do(model: Path, count: int, seconds: int) -> None:
    """Exit 0 within the drain, the time of a request and three seconds; callers who behave lose nothing before it."""
    port, drain = free_port(), 1
    limits = {"SALVER_DRAIN_SECONDS": str(drain), "SALVER_REQUEST_TIMEOUT_SECONDS": str(seconds)}
    with (
        service_process(model, port, SALVER_API_KEYS="key", **limits) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
        ExitStack() as stack,
    ):
        client.headers["Authorization"] = "Bearer key"
        wait_until_ready(client)
        callers = [stack.enter_context(caller) for caller in misbehaving(client, count)]
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.5 if count < 100 else 4):
                for caller in callers:
                    with suppress(OSError):
                        caller.socket.send(b"a", socket.MSG_DONTWAIT)

        dripping = threading.Thread(target=drip)
        dripping.start()
        for _ in range(20):
            assert scores(client)
            assert client.get("/readyz").status_code == 200
            time.sleep(0.02 if count < 100 else 0.5)
        client.close()
        began = time.perf_counter()
        process.terminate()
        assert process.wait(timeout=drain + seconds + 10) == 0
        took = time.perf_counter() - began
        stop.set()
        dripping.join()
    assert took < drain + seconds + 3
