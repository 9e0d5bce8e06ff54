"""A pod of 1 GiB under hostile requests of every kind, while good clients lose nothing."""

import base64
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx import helper

from salver.artifact.manifest import OUTPUT_NAME, PixelSpec
from tests.support.container import Container, container
from tests.support.images import encode
from tests.support.live import free_port, wait_until_ready
from tests.support.models import Constants, Nodes, write
from tests.support.pictures import noise

Record = Callable[[str, object], None]
ROOT = Path(__file__).parents[2]
GIB, MIB = 2**30, 2**20
KEYS = "hostile,good"
PHOTO = base64.b64encode(encode(noise(480, 640).resize((640, 480)), "JPEG", quality=60)).decode()
GOOD = json.dumps([{"image_in_base64": PHOTO}]).encode()
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer good"}
SECONDS_OF_QUIET = 8.0
MOST_TIMES, MOST_HEALTH_SECONDS = 5.0, 0.25


def net(path: Path) -> Path:
    """Convolutions that take about as long as ResNet-18's, with weights of its size."""
    chance = np.random.default_rng(0)
    constants: Constants = {"axes": np.array([2, 3]), "over": np.float32(1 / 255)}
    nodes: Nodes = [helper.make_node("Transpose", ["scaled"], ["x0"], perm=[0, 3, 1, 2])]
    widths, before = (64, 64, 128, 256, 512, 512, 512), 3
    for layer, width in enumerate(widths):
        constants[f"w{layer}"] = (chance.normal(0, 1, (width, before, 3, 3)) / (9 * before) ** 0.5).astype(np.float32)
        stride = 1 if layer in (1, 5, 6) else 2
        ends = ([f"x{layer}", f"w{layer}"], [f"y{layer}"])
        nodes.append(helper.make_node("Conv", *ends, pads=[1, 1, 1, 1], strides=[stride, stride]))
        nodes.append(helper.make_node("Relu", [f"y{layer}"], [f"x{layer + 1}"]))
        before = width
    constants["last"] = chance.normal(0, 0.1, (before, 4)).astype(np.float32)
    nodes.append(helper.make_node("ReduceMean", [f"x{len(widths)}", "axes"], ["features"], keepdims=0))
    nodes.append(helper.make_node("MatMul", ["features", "last"], [OUTPUT_NAME]))
    spec = PixelSpec(height=224, width=224, shorter_side=256)
    return write(path, nodes, constants, ("a", "b", "c", "d"), spec)


@contextmanager
def pod(model: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Container]]:
    """The service as k8s/base runs it: 1 GiB, two cores."""
    port = free_port()
    with container(GIB) as inside:
        command = [*inside.command, sys.executable, "-P", "-m", "service", "--port", str(port)]
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SALVER_MODEL": str(model)}
        variables |= {"SALVER_API_KEYS": KEYS, "SALVER_LOG_FORMAT": "text", **settings}
        with subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL) as process:
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                    wait_until_ready(client)
                yield process, port, inside
            finally:
                process.kill()
                process.wait()


class GoodClients:
    """Two, each with one request after the other, and one that asks for /healthz ten times a second."""

    def __init__(self, port: int) -> None:
        self.seconds: list[float] = []
        self.health_seconds: list[float] = []
        self.lost: list[str] = []
        self._url = f"http://127.0.0.1:{port}"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._score) for _ in range(2)]
        self._threads.append(threading.Thread(target=self._ask))

    def __enter__(self) -> "GoodClients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98]

    def _score(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._stop.is_set():
                began = time.perf_counter()
                try:
                    answer = client.post("/score", content=GOOD, headers=HEADERS)
                    if answer.status_code != 200:
                        self.lost.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    self.lost.append(repr(error))
                self.seconds.append(time.perf_counter() - began)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._stop.wait(0.1):
                began = time.perf_counter()
                client.get("/healthz").raise_for_status()
                self.health_seconds.append(time.perf_counter() - began)


@contextmanager
def besieging(port: int, count: int, clients: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes of hostile clients, begun at once."""
    besiegers = []
    for seed in range(2):
        command = [sys.executable, "-m", "tests.prove.besiege", str(port), "hostile"]
        command += [str(count // 2), str(clients // 2), str(seed)]
        besiegers.append(subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    try:
        for besieger in besiegers:
            assert besieger.stdout is not None
            assert besieger.stdout.readline() == "ready\n"
        for besieger in besiegers:
            assert besieger.stdin is not None
            besieger.stdin.write("go\n")
            besieger.stdin.flush()
        yield besiegers
    finally:
        for besieger in besiegers:
            besieger.kill()
            besieger.communicate()


def besieged(tmp_path: Path, count: int) -> dict[str, object]:
    """What good clients saw, quiet and under so many hostile requests from 8 clients."""
    with pod(net(tmp_path / "model.onnx")) as (process, port, inside):
        with GoodClients(port) as quiet:
            time.sleep(SECONDS_OF_QUIET)
        began = time.monotonic()
        answers: dict[str, int] = {}
        with besieging(port, count, 8) as besiegers, GoodClients(port) as good:
            for besieger in besiegers:
                assert besieger.stdout is not None
                for status, number in json.loads(besieger.stdout.readline()).items():
                    answers[status] = answers.get(status, 0) + number
        return {
            "answers": answers,
            "seconds": time.monotonic() - began,
            "alive": process.poll() is None,
            "lost": good.lost,
            "good": len(good.seconds),
            "quiet p99": quiet.p99(),
            "p99": good.p99(),
            "longest": max(good.seconds),
            "health": max(good.health_seconds),
            "peak": inside.peak_bytes() / MIB,
            "limit": inside.limit,
        }


def judge(found: dict[str, object], record_property: Record) -> None:
    record_property(
        "tried",
        "{answers} in {seconds:.0f} s, {limit} of 1 GiB, at most {peak:.0f} MiB used; {good} good requests, "
        "p99 {p99:.3f} s (quiet {quiet p99:.3f}, longest {longest:.3f}), /healthz at most {health:.3f} s".format_map(
            found
        ),
    )
    record_property("lost", len(found["lost"]) or "nothing")  # type: ignore[arg-type]
    assert found["alive"]
    assert found["lost"] == []
    assert found["p99"] <= MOST_TIMES * found["quiet p99"]  # type: ignore[operator]
    assert found["health"] <= MOST_HEALTH_SECONDS  # type: ignore[operator]


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_ten_thousand_hostile_requests_take_nothing_from_good_clients(tmp_path: Path, record_property: Record) -> None:
    judge(besieged(tmp_path, 10_000), record_property)


@pytest.mark.prove
@pytest.mark.timeout(600)
@pytest.mark.parametrize("after_seconds", [0.5, 2.0, 4.0])
def test_sigterm_in_the_middle_of_it_ends_the_service_in_time(
    tmp_path: Path, after_seconds: float, record_property: Record
) -> None:
    settings = {"SALVER_DRAIN_SECONDS": "1", "SALVER_REQUEST_TIMEOUT_SECONDS": "5"}
    with pod(net(tmp_path / "model.onnx"), **settings) as (process, port, _), besieging(port, 2_000, 8):
        time.sleep(after_seconds)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(30) == 0
        seconds = time.monotonic() - began
    record_property("tried", f"SIGTERM after {after_seconds:g} s: exit 0 after {seconds:.1f} s")
    record_property("lost", "nothing")
    assert seconds <= 1 + 1 + 5 + 1 + 3
