"""The most that one request can cost, for each way in; docs/security.md has the table."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.service.api.bodies import INFER, Attack, attacks
from tests.service.limits.test_memory import MIB, Memory
from tests.service.scoring.test_event_loop import MOST_SECONDS, TRIES, send, ticking_service
from tests.service.scoring.ticking import Ticks
from tests.support.live import free_port, service_process, wait_until_ready
from tests.support.models import probe

pytestmark = pytest.mark.server

Record = Callable[[str, object], None]
MOST_CPU_SECONDS, MOST_BYTES = 1.5, 160 * MIB
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """What the process used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Ticks, int]]:
    with ticking_service(tmp_path_factory.mktemp("ticking")) as running:
        yield running


def way_in(attack: Attack) -> str:
    """The row of the table that it belongs to."""
    if attack.name.startswith("chunks"):
        return "chunks"
    if attack.path == INFER:
        return "inference protocol, binary" if "binary" in attack.name else "inference protocol, JSON"
    kind = {"a file": "file", "gzip": "JSON"}.get(attack.name.partition(",")[0].removesuffix(" in gzip"))
    kind = kind or attack.name.partition(",")[0].removesuffix(" in gzip")
    return f"{kind} in gzip" if "Content-Encoding" in attack.headers else kind


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_no_body_costs_more_than_the_stated_most(service: tuple[int, Ticks, int], record_property: Record) -> None:
    port, ticks, pid = service
    memory = Memory(pid)
    at_rest = memory.now()
    worst: dict[str, list[tuple[float, str]]] = {}
    for attack in attacks():
        costs: list[tuple[float, float, float]] = []
        while len(costs) < TRIES and (not costs or min(cost[2] for cost in costs) > MOST_SECONDS):
            ticks.begin()
            memory.now()
            began = cpu_seconds(pid)
            send(port, attack)
            time.sleep(0.02)  # for what goes on after the answer
            costs.append((cpu_seconds(pid) - began, (memory.peak() - at_rest) / MIB, 1000 * ticks.longest_seconds()))
        cost = [min(figures) for figures in zip(*costs, strict=True)]
        rows = worst.setdefault(way_in(attack), [(0.0, "")] * 3)
        worst[way_in(attack)] = [max(row, (figure, attack.name)) for row, figure in zip(rows, cost, strict=True)]
    lines = []
    for way, rows in worst.items():
        figures = [f"{figure:.2f} ({name.partition(', ')[2] or name})" for figure, name in rows]
        lines.append(f"{way}: {figures[0]} s of CPU, {figures[1]} MiB, {figures[2]} ms of the loop")
    record_property("tried", "\n        ".join(lines))
    record_property("lost", "nothing")
    assert max(rows[0][0] for rows in worst.values()) <= MOST_CPU_SECONDS, lines
    assert max(rows[1][0] for rows in worst.values()) * MIB <= MOST_BYTES, lines
    assert max(rows[2][0] for rows in worst.values()) <= 1000 * MOST_SECONDS, lines


CONNECTIONS = {
    "a silent connection": b"",
    "an open head of 64 KiB": b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 65_000,
    "a head of 250 headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 250,
    "pipelined heads": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5000,
    "an unread answer of 1.4 MiB": b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unread answer made anew": b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a refused body": b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b"a" * 90_000,
}


@pytest.mark.prove
@pytest.mark.parametrize("kind", CONNECTIONS)
def test_no_connection_costs_more_than_the_stated_most(tmp_path: Path, kind: str, record_property: Record) -> None:
    """Of a hundred that are held."""
    port = free_port()
    with (
        service_process(
            probe(tmp_path / "model.onnx"), port, SALVER_API_KEYS="key", SALVER_DRAIN_SECONDS="0"
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
        ExitStack() as stack,
    ):
        wait_until_ready(client)
        for path in ("/openapi.json", "/docs/swagger-ui-bundle.js"):  # read once
            client.get(path)
        memory = Memory(process.pid)
        before, began = memory.now(), cpu_seconds(process.pid)
        for _ in range(100):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            caller.settimeout(1)
            with suppress(OSError):  # it was ended
                caller.sendall(CONNECTIONS[kind])
        time.sleep(0.5)
        mebibytes, seconds = (memory.peak() - before) / MIB / 100, (cpu_seconds(process.pid) - began) / 100
    record_property("tried", f"{kind}: {mebibytes:.2f} MiB, {1000 * seconds:.1f} ms of CPU a connection")
    record_property("lost", "nothing")
    assert mebibytes < 0.6
    assert seconds < 0.05
