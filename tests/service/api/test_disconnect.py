"""A caller that went away costs nothing more."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.caller import Caller
from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

LARGE = {"image_in_base64": base64.b64encode(solid((200, 30, 40), 2400, 1600)).decode()}
SMALL = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
TIMES, IMAGES, AFTER_SECONDS = 20, 64, 0.05


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[httpx.Client]:
    with running_service(model, url_allowlist="127.0.0.1", max_inflight_bytes=32 * 1024**2) as client:
        yield client


def seconds_to_score(client: httpx.Client, items: list[dict[str, str]]) -> float:
    began = time.perf_counter()
    assert client.post("/score", json=items).status_code == 200
    return time.perf_counter() - began


def leave(client: httpx.Client, body: bytes, length: int) -> None:
    """Send a body of a length, or its beginning, and go away."""
    with Caller(client) as caller:
        caller.send(body, f"Content-Length: {length}\r\n")
        caller.socket.settimeout(AFTER_SECONDS)
        with pytest.raises(TimeoutError):
            caller.socket.recv(1)


@pytest.mark.slow
def test_the_images_of_callers_that_went_away_are_not_scored(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    whole_seconds = seconds_to_score(client, [LARGE] * IMAGES)
    body = json.dumps([LARGE] * IMAGES).encode()
    began = time.perf_counter()
    for _ in range(TIMES):
        leave(client, body, len(body))
    seconds_to_score(client, [SMALL])
    # Had every image been scored, the small one would have come last, or the queue of 256 would have been full.
    assert time.perf_counter() - began < TIMES * AFTER_SECONDS + TIMES * whole_seconds / 4
    assert [record for record in caplog.records if record.exc_info] == []


def test_callers_that_go_away_in_the_middle_of_a_body_leave_nothing_behind(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        leave(client, b"[", 30 * 1024**2)  # two of them would be over the budget
    body = json.dumps([{"image_in_base64": SMALL["image_in_base64"] + " " * 19_999_999}]).encode()
    statuses = (client.post("/score", content=body, headers={"Content-Type": "application/json"}) for _ in range(100))
    assert 200 in (answer.status_code for answer in statuses)
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_url_is_not_fetched_on_for_a_caller_that_went_away(client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        body = json.dumps([{"image_url": f"http://127.0.0.1:{server.getsockname()[1]}/x"}]).encode()
        thread = threading.Thread(target=leave, args=(client, body, len(body)))
        thread.start()
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)  # half of what the service would wait for the URL
            assert connection.recv(65536).startswith(b"GET /x ")
            assert connection.recv(1) == b""
        thread.join()
