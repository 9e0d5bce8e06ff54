"""No body makes a step on the event loop that others would feel."""

import http.client
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.service.api.bodies import Attack, attacks
from tests.service.scoring.ticking import Ticks
from tests.support.live import free_port, wait_until_ready
from tests.support.models import probe

MOST_SECONDS = 0.005
TRIES = 6
MOST_HEALTHZ_SECONDS = 0.25
"""A machine that does other things as well makes ticks late; what a body costs is late each time."""


@contextmanager
def ticking_service(folder: Path) -> Iterator[tuple[int, Ticks, int]]:
    """Its port, its ticks and its process."""
    port, file = free_port(), folder / "ticks"
    ticks = Ticks(file)
    command = [
        sys.executable,
        "-m",
        "tests.service.scoring.ticking",
        str(probe(folder / "model.onnx")),
        str(port),
        str(file),
    ]
    variables = {"PATH": "/usr/bin:/bin", "SALVER_DRAIN_SECONDS": "0", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                wait_until_ready(client)
            yield port, ticks, process.pid
        finally:
            process.terminate()


def send(port: int, attack: Attack) -> int:
    """The status; 0 when the service ended the connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = attack.body()
    headers = attack.headers
    if attack.chunk:
        headers = headers | {"Transfer-Encoding": "chunked"}
        body = attack.chunk * (min(SIZE_OF_CHUNKS, 400_000 * len(attack.chunk)) // len(attack.chunk)) + b"0\r\n\r\n"
    connection.putrequest("POST", attack.path)
    for name, value in headers.items():
        connection.putheader(name, value)
    if not attack.chunk:
        connection.putheader("Content-Length", str(len(body)))
    with suppress(OSError):
        connection.endheaders(body)
    try:
        with connection.getresponse() as answer:
            answer.read()
            return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


SIZE_OF_CHUNKS = 16 * 2**20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Ticks, int]]:
    with ticking_service(tmp_path_factory.mktemp("ticking")) as running:
        yield running


@pytest.mark.slow
def test_no_body_of_any_form_holds_the_event_loop_for_more_than_5_ms(service: tuple[int, Ticks, int]) -> None:
    port, ticks, _ = service
    slow: dict[str, list[float]] = {}
    for attack in attacks():
        gaps: list[float] = []
        while len(gaps) < TRIES and (not gaps or min(gaps) > MOST_SECONDS):
            ticks.begin()
            status = send(port, attack)
            gaps.append(ticks.longest_seconds())
            assert status in (0, 400, 413, 422, 431), attack.name
        if min(gaps) > MOST_SECONDS:
            slow[attack.name] = gaps
    assert not slow


@pytest.mark.parametrize(
    "seconds", [pytest.param(3, marks=pytest.mark.slow), pytest.param(60, marks=[pytest.mark.soak, pytest.mark.prove])]
)
def test_healthz_answers_in_250_ms_while_eight_callers_send_the_worst_bodies(
    service: tuple[int, Ticks, int], seconds: float
) -> None:
    """What the service does itself it does each time; a pause of a busy machine does not come back."""
    port, _, _ = service
    longest: list[float] = []
    while len(longest) < TRIES and (not longest or min(longest) > MOST_HEALTHZ_SECONDS):
        longest.append(_longest_healthz(port, seconds))
    assert min(longest) <= MOST_HEALTHZ_SECONDS, longest


def _longest_healthz(port: int, seconds: float) -> float:
    """While eight callers send so long."""
    worst = list(attacks())
    ends = time.monotonic() + seconds

    def send_on(number: int) -> None:
        for attack in itertools.cycle(worst[number::8]):
            if time.monotonic() > ends:
                return
            with suppress(OSError):
                send(port, attack)

    threads = [threading.Thread(target=send_on, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    took = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        while time.monotonic() < ends:
            began = time.perf_counter()
            assert client.get("/healthz").status_code == 200
            took.append(time.perf_counter() - began)
            time.sleep(0.005)
    for thread in threads:
        thread.join()
    return max(took)
