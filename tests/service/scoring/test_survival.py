"""What a service on the open net meets: idle, slow and too many callers, servers that hang, and weeks of work."""

import asyncio
import base64
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx import helper
from prometheus_client.parser import text_string_to_metric_families

from salver.artifact.manifest import OUTPUT_NAME
from tests.support.caller import Caller
from tests.support.images import solid
from tests.support.live import free_port, running_service, service_process, wait_until_ready
from tests.support.models import Constants, constant, probe, write

pytestmark = pytest.mark.server

RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
LARGE = {"image_in_base64": base64.b64encode(solid((200, 30, 40), 1600, 1200)).decode()}
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[httpx.Client]:
    with running_service(model, url_allowlist="127.0.0.1", request_timeout_seconds=5, url_timeout_seconds=1) as client:
        yield client


def seconds_to_score(client: httpx.Client) -> float:
    began = time.perf_counter()
    assert client.post("/score", json=RED).status_code == 200
    return time.perf_counter() - began


def test_200_idle_connections_hold_nobody_up_and_are_answered_when_they_speak(client: httpx.Client) -> None:
    body = json.dumps(RED).encode()
    with ExitStack() as stack:
        callers = [stack.enter_context(Caller(client)) for _ in range(200)]
        assert max(seconds_to_score(client) for _ in range(10)) < 1
        for caller in callers[::20]:
            caller.send(body, f"Content-Length: {len(body)}\r\n")
            assert caller.status() == 200


def test_callers_that_send_a_byte_at_a_time_hold_nobody_up(client: httpx.Client) -> None:
    body = json.dumps(RED).encode()
    with ExitStack() as stack:
        callers = [stack.enter_context(Caller(client)) for _ in range(50)]
        for caller in callers:
            caller.send(b"", f"Content-Length: {len(body)}\r\n")
        for at in range(30):
            for caller in callers:
                caller.socket.sendall(body[at : at + 1])
            assert seconds_to_score(client) < 1
        for caller in callers[:3]:
            caller.socket.sendall(body[30:])
            assert caller.status() == 200


def test_callers_that_do_not_read_their_answers_hold_nobody_up(client: httpx.Client) -> None:
    body = json.dumps([RED] * 64).encode()
    with ExitStack() as stack:
        for _ in range(8):
            caller = stack.enter_context(Caller(client))
            caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            caller.send(body, f"Content-Length: {len(body)}\r\n")
        assert max(seconds_to_score(client) for _ in range(10)) < 2


def test_a_url_server_that_hangs_costs_its_own_images_only(client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = {"image_url": f"http://127.0.0.1:{server.getsockname()[1]}/never"}

        async def ask() -> tuple[list[httpx.Response], list[float]]:
            async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as caller:
                hanging = [asyncio.create_task(caller.post("/score", json=[url, RED, url])) for _ in range(20)]
                seconds = []
                while not all(task.done() for task in hanging):
                    began = time.perf_counter()
                    assert (await caller.post("/score", json=RED)).status_code == 200
                    seconds.append(time.perf_counter() - began)
                return [task.result() for task in hanging], seconds

        answers, seconds = asyncio.run(ask())
    for answer in answers:
        first, second, third = answer.json()
        assert first["error"]["type"] == third["error"]["type"] == "urn:salver:url-failed"
        assert second["label"] == "left R"
    assert len(seconds) > 10
    assert max(seconds) < 1


@pytest.mark.parametrize(
    "full_seconds",
    [pytest.param(3, marks=pytest.mark.slow), pytest.param(30, marks=[pytest.mark.soak, pytest.mark.prove])],
)
def test_while_the_queue_is_full_there_are_only_429s_and_right_answers(
    model: Path, full_seconds: float, record_property: Callable[[str, object], None]
) -> None:
    statuses: list[int] = []

    async def fill(base_url: httpx.URL) -> None:
        end = time.monotonic() + full_seconds
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=base_url, limits=limits, timeout=60) as caller:

            async def ask(items: int) -> None:
                while time.monotonic() < end:
                    answer = await caller.post("/score", json=[LARGE] * items)
                    statuses.append(answer.status_code)
                    if answer.status_code == 200:
                        assert [item["label"] for item in answer.json()] == ["left R"] * items
                    else:
                        assert answer.json()["type"] == "urn:salver:overloaded"
                        assert int(answer.headers["retry-after"]) >= 1

            await asyncio.gather(*(ask(items) for items in (1, 2, 4, 8) * 12))

    with running_service(model, max_items=8, max_queue_images=32) as client:
        asyncio.run(fill(client.base_url))
        assert seconds_to_score(client) < 1
    assert set(statuses) == {200, 429}
    record_property("tried", f"{len(statuses):,} requests while the queue was full")
    record_property("lost", f"nothing; {statuses.count(429):,} were told to come back")


def resident_bytes(client: httpx.Client) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return next(family.samples[0].value for family in families if family.name == "process_resident_memory_bytes")


@pytest.mark.slow
def test_memory_stays_flat_over_lists_of_every_length(model: Path) -> None:
    lengths = random.Random(0)
    port = free_port()
    with (
        service_process(model, port, SALVER_DRAIN_SECONDS="0", SALVER_MAX_ITEMS="32"),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        wait_until_ready(client, attempts=500)
        resident = {}
        for number in range(1, 501):
            items = lengths.randint(1, 32)
            assert len(client.post("/score", json=[RED] * items).json()) == items
            resident[number] = resident_bytes(client) if number in (100, 500) else 0
        assert client.post("/score", json=[RED] * 33).status_code == 422
    assert resident[500] <= 1.2 * resident[100]


def heavy(path: Path, seed: int) -> Path:
    """A model of 16 MiB: its logits are the mean colours through a large random matrix."""
    random = np.random.default_rng(seed)
    constants: Constants = {
        "over": np.float32(1 / 255),
        "middle": np.array([1, 2]),
        "wide": random.standard_normal((3, 2048), np.float32),
        "square": random.standard_normal((2048, 2048), np.float32) / 2048,
        "narrow": random.standard_normal((2048, 3), np.float32) / 2048,
    }
    nodes = [
        helper.make_node("ReduceMean", ["scaled", "middle"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "wide"], ["a"]),
        helper.make_node("MatMul", ["a", "square"], ["b"]),
        helper.make_node("MatMul", ["b", "narrow"], [OUTPUT_NAME]),
    ]
    return write(path, nodes, constants, ("a", "b", "c"))


@pytest.mark.slow
def test_a_change_of_the_model_gives_the_old_ones_memory_back(tmp_path: Path) -> None:
    path, port = constant(tmp_path / "model.onnx", [1, 0, 0]), free_port()
    files = [heavy(tmp_path / f"{seed}.onnx", seed).read_bytes() for seed in (1, 2)]
    with (
        service_process(path, port, SALVER_DRAIN_SECONDS="0", SALVER_ADMIN_KEYS="admin") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        wait_until_ready(client, attempts=500)
        resident = []
        for number in range(10):
            path.write_bytes(files[number % 2])
            answer = client.post("/model/reload", headers={"Authorization": "Bearer admin"})
            assert answer.json()["outcome"] == "changed"
            # The next change waits for the last one's end; this one is of the same file.
            assert client.post("/model/reload", headers={"Authorization": "Bearer admin"}).status_code == 200
            assert client.post("/score", json=RED).status_code == 200
            resident.append(resident_bytes(client) / MEBIBYTE)
        assert process.poll() is None
    assert min(resident[-3:]) <= resident[1] + 32  # each look finds what is just being given back, too
