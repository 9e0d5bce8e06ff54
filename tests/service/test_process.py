"""The service as the process that a container runs."""

import asyncio
import base64
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.caller import Caller
from tests.support.images import solid
from tests.support.live import free_port, running_server, service_process, wait_until_ready
from tests.support.models import probe

pytestmark = pytest.mark.server

BODY = [{"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}]


def test_sigterm_serves_on_while_not_ready_then_exits_0(tmp_path: Path) -> None:
    port = free_port()
    with (
        service_process(probe(tmp_path / "model.onnx"), port, SALVER_DRAIN_SECONDS="1") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, attempts=500)
        process.send_signal(signal.SIGTERM)
        statuses: list[tuple[int, int]] = []
        while process.poll() is None and len(statuses) < 1000:
            try:
                statuses.append((client.get("/readyz").status_code, client.post("/score", json=BODY).status_code))
            except httpx.TransportError:
                break
        assert process.wait(10) == 0
    assert (503, 200) in statuses
    assert {score for _, score in statuses} == {200}


async def send_at(rate: float, send: Callable[[int], Coroutine[None, None, None]], ended: asyncio.Event) -> None:
    """Requests at a steady rate a second, whether the earlier ones are answered or not, until told to end."""
    began = time.monotonic()
    tasks: list[asyncio.Task[None]] = []
    while not ended.is_set():
        tasks.append(asyncio.create_task(send(len(tasks))))
        await asyncio.sleep(began + len(tasks) / rate - time.monotonic())
    await asyncio.gather(*tasks)


async def roll_out(process: subprocess.Popen[str], url: str) -> list[tuple[int, bool, bool]]:
    """SIGTERM under 50 requests a second, over kept and new connections, until a while after /readyz says no.

    Of each request: the answer's status, whether it was sent after SIGTERM, whether it closes the connection.
    """
    answers: list[tuple[int, bool, bool]] = []
    terminated, ended = asyncio.Event(), asyncio.Event()
    async with (
        httpx.AsyncClient(base_url=url) as kept,
        httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_keepalive_connections=0)) as fresh,
    ):

        async def send(number: int) -> None:
            after = terminated.is_set()
            answer = await (fresh if number % 2 else kept).post("/score", json=BODY)
            answers.append((answer.status_code, after, answer.headers.get("connection") == "close"))

        sending = asyncio.create_task(send_at(50, send, ended))
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        while (await kept.get("/readyz")).status_code == 200:
            pass
        terminated.set()
        await asyncio.sleep(0.7)  # as long as an endpoint's removal may take to reach everyone
        ended.set()
        await sending
    return answers


@pytest.mark.parametrize(
    "times", [pytest.param(2, marks=pytest.mark.slow), pytest.param(10, marks=[pytest.mark.slow, pytest.mark.soak])]
)
def test_sigterm_at_50_requests_a_second_fails_none(tmp_path: Path, times: int) -> None:
    model = probe(tmp_path / "model.onnx")
    for _ in range(times):
        port = free_port()
        with service_process(model, port, SALVER_DRAIN_SECONDS="1.5") as process:
            ready(port)
            answers = asyncio.run(roll_out(process, f"http://127.0.0.1:{port}"))
            assert process.wait(10) == 0
        assert {status for status, _, _ in answers} == {200}
        assert len(answers) > 50
        assert {closes for _, after, closes in answers if after} == {True}


def ready(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        wait_until_ready(client, attempts=500)


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # came in the moment of closing
        pass
    return False


def test_after_the_drain_a_request_on_a_kept_connection_is_still_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.server.PARTING_SECONDS", 30.0)  # a busy machine may need more than the one second
    body = json.dumps(BODY).encode()
    head = f"Content-Length: {len(body)}\r\n"
    with (
        running_server(probe(tmp_path / "model.onnx"), drain_seconds=0.2) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client,
    ):
        wait_until_ready(client)
        with Caller(client) as idle, Caller(client) as slow:
            idle.send(body, head)
            assert (idle.status(), idle.header("connection")) == (200, None)
            slow.send(body[:10], head)
            server.handle_exit(signal.SIGTERM, None)
            while not refused(server.port):
                time.sleep(0.02)
            idle.send(body, head)
            assert (idle.status(), idle.header("connection")) == (200, "close")
            slow.socket.sendall(body[10:])
            assert (slow.status(), slow.header("connection")) == (200, "close")


@pytest.mark.slow
def test_docker_stop_waits_for_a_request_of_5_seconds(tmp_path: Path) -> None:
    port = free_port()
    body = json.dumps(BODY).encode()
    with (
        service_process(probe(tmp_path / "model.onnx"), port, SALVER_DRAIN_SECONDS="0.5") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, attempts=500)
        with Caller(client) as slow:
            slow.send(body[:10], f"Content-Length: {len(body)}\r\n")
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(5)
            slow.socket.sendall(body[10:])
            assert slow.status() == 200
        assert process.wait(3) == 0


def test_sigterm_while_a_store_does_not_answer_ends_it_at_once() -> None:
    """A web server that takes a connection and says nothing."""
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        service_process(f"http://127.0.0.1:{silent.getsockname()[1]}/model.onnx", port) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, path="/healthz")
        assert client.get("/readyz").status_code == 503
        assert client.post("/score", json=BODY).status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(3) == 0


@pytest.mark.slow
def test_healthz_answers_within_50_ms_while_the_service_is_saturated(tmp_path: Path) -> None:
    port = free_port()
    large = {"image_in_base64": base64.b64encode(solid((200, 30, 40), 2400, 1600)).decode()}

    async def saturated(url: str) -> list[float]:
        ended = asyncio.Event()
        async with httpx.AsyncClient(base_url=url, timeout=60) as client, httpx.AsyncClient(base_url=url) as prober:

            async def send(items: int) -> None:
                while not ended.is_set():
                    assert (await client.post("/score", json=[large] * items)).status_code in (200, 429)

            sending = [asyncio.create_task(send(items)) for items in (1, 1, 1, 1, 32, 32)]
            await asyncio.sleep(0.5)
            seconds = []
            for _ in range(200):
                began = time.perf_counter()
                assert (await prober.get("/healthz")).status_code == 200
                seconds.append(time.perf_counter() - began)
                await asyncio.sleep(0.02)
            ended.set()
            await asyncio.gather(*sending)
        return seconds

    with service_process(probe(tmp_path / "model.onnx"), port, SALVER_DRAIN_SECONDS="0"):
        ready(port)
        seconds = asyncio.run(saturated(f"http://127.0.0.1:{port}"))
    assert statistics.quantiles(seconds, n=100)[98] < 0.05


def test_ctrl_c_ends_it_with_0(tmp_path: Path) -> None:
    port = free_port()
    with (
        service_process(probe(tmp_path / "model.onnx"), port, SALVER_DRAIN_SECONDS="0") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, attempts=500)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.fixture(scope="module")
def starts() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.service.starts"]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process


@pytest.mark.parametrize(
    ("environment", "arguments", "code", "words"),
    [
        ({"SALVER_MODEL": "absent.onnx"}, [], 1, "absent.onnx cannot be read"),
        ({"SALVER_MODEL": "EMPTY"}, [], 1, "cannot be loaded"),
        ({"SALVER_MODEL": "PIPE"}, [], 1, "It is a pipe, not a file"),
        ({"SALVER_MODEL": "MODEL", "SALVER_API_KEYS_FILE": "PIPE"}, [], 2, "It is a pipe, not a file"),
        ({"SALVER_MODEL": "MODEL", "SALVER_DEVICE": "cuda"}, [], 1, "SALVER_DEVICE is cuda"),
        ({"SALVER_MODEL": "MODEL", "SALVER_MAX_ITEM": "1"}, [], 2, "did you mean SALVER_MAX_ITEMS"),
        ({"SALVER_MODEL": "MODEL", "SALVER_API_KEYS": ""}, [], 2, "SALVER_API_KEYS holds no key"),
        ({"SALVER_MODEL": "MODEL", "SALVER_API_KEYS_FILE": "absent"}, [], 2, "SALVER_API_KEYS_FILE cannot be read"),
        ({"SALVER_MODEL": "MODEL", "SALVER_ADMIN_KEYS": ","}, [], 2, "SALVER_ADMIN_KEYS holds no key"),
        ({"SALVER_MODEL": "MODEL", "SALVER_MAX_QUEUE_IMAGES": "5"}, [], 2, "is less than MAX_ITEMS"),
        *(
            ({"SALVER_MODEL": "MODEL"}, ["--host", host], 2, "SALVER_ALLOW_ANONYMOUS")
            for host in ("0.0.0.0", "[::]", "::ffff:10.0.0.1")
        ),
        ({"SALVER_MODEL": "MODEL"}, ["--host", ""], 2, "no address is named"),
        ({"SALVER_MODEL": "MODEL", "SALVER_API_KEYS": "one"}, ["--host", "a" * 70], 2, "no host name"),
        (
            {"SALVER_MODEL": "MODEL", "SSL_CERT_FILE": "absent"},
            [],
            2,
            "SSL_CERT_FILE names absent, which ",
        ),
        ({"SALVER_MODEL": "MODEL", "SSL_CERT_DIR": "FOLDER"}, [], 2, "SSL_CERT_DIR names "),
        (
            {"SALVER_MODEL": "absent", "SSL_CERT_FILE": "absent", "SALVER_URL_FETCH": "off"},
            [],
            1,
            "absent cannot be read",
        ),
        (
            {"SALVER_MODEL": "absent", "SSL_CERT_DIR": "absent", "SALVER_URL_FETCH": "off"},
            [],
            1,
            "absent cannot be read",
        ),
        ({"SALVER_MODEL": "MODEL", "SALVER_API_KEYS": "one"}, ["--host", "nosuch.invalid"], 2, "nosuch.invalid"),
        ({"SALVER_MODEL": "MODEL", "SALVER_API_KEYS": "one"}, ["--host", "192.0.2.1"], 2, "no such address"),
        ({"SALVER_MODEL": "MODEL"}, ["--port", "99999"], 2, "99999"),
        ({}, [], 2, "SALVER_MODEL"),
    ],
)
def test_what_cannot_be_served_ends_the_process_with_one_line(
    starts: subprocess.Popen[str],
    tmp_path: Path,
    environment: dict[str, str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "empty.onnx").touch()
    os.mkfifo(tmp_path / "pipe")
    files = {name: str(tmp_path / file) for name, file in (("EMPTY", "empty.onnx"), ("PIPE", "pipe"), ("FOLDER", ""))}
    files["MODEL"] = str(probe(tmp_path / "model.onnx"))
    start = {
        "environment": {"SALVER_LOG_FORMAT": "text"}
        | {name: files.get(value, value) for name, value in environment.items()},
        "arguments": ["--port", str(free_port()), *arguments],
        "log": str(tmp_path / "log"),
    }
    began = time.monotonic()
    assert starts.stdin is not None
    assert starts.stdout is not None
    print(json.dumps(start), file=starts.stdin, flush=True)
    assert int(starts.stdout.readline()) == code
    assert time.monotonic() - began < 10
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert "[Errno" not in log
    assert len([line for line in log.splitlines() if words in line]) == 1


def test_a_port_that_is_taken_ends_the_process_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with service_process(probe(tmp_path / "model.onnx"), port) as process:
            _, log = process.communicate(timeout=10)
    assert process.returncode == 2
    (line,) = [json.loads(line) for line in log.splitlines() if "error" in line]
    assert line["message"].startswith(f"Cannot listen on 127.0.0.1, port {port}: Address already in use")


def test_without_a_key_it_says_once_that_everyone_can_score(tmp_path: Path) -> None:
    port = free_port()
    with (
        service_process(probe(tmp_path / "model.onnx"), port, SALVER_DRAIN_SECONDS="0") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, attempts=500)
        process.terminate()
        assert process.stderr is not None
        log = process.stderr.read()
    assert log.count("no key is configured") == 1
    assert '"level": "warning"' in log


def test_neither_keys_nor_images_stand_in_the_log(tmp_path: Path) -> None:
    port = free_port()
    with (
        service_process(
            probe(tmp_path / "model.onnx"), port, SALVER_API_KEYS="s3cret-key", SALVER_DRAIN_SECONDS="0"
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, attempts=500)
        for key in ("s3cret-key", "wr0ng-key"):
            client.post(
                "/score",
                json=[*BODY, {"image_in_base64": "bm90IGFuIGltYWdl"}],
                headers={"Authorization": f"Bearer {key}"},
            )
        process.terminate()
        assert process.stderr is not None
        log = process.stderr.read()
    for secret in ("s3cret-key", "wr0ng-key", "bm90IGFuIGltYWdl", BODY[0]["image_in_base64"]):
        assert secret not in log


def test_the_service_needs_no_torch() -> None:
    script = "import sys, service.__main__; sys.exit(not {'torch', 'onnx'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
