"""The machine fails around the service: its clock jumps, its event loop stands still, its memory ends."""

import asyncio
import base64
import json
import re
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.images import photo, solid
from tests.support.live import free_port, service_process, wait_until_ready
from tests.support.models import probe

pytestmark = pytest.mark.server

RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
CALLERS = 8
MIB = 2**20
Record = Callable[[str, object], None]


@contextmanager
def started(
    folder: Path, before: str = "", **environment: str
) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client]]:
    """The service as a process in which the code `before` is run first, and a client of it."""
    port = free_port()
    (folder / "sitecustomize.py").write_text(before)
    environment |= {"PYTHONPATH": str(folder), "SALVER_DRAIN_SECONDS": "0"}
    with (
        service_process(probe(folder / "model.onnx"), port, **environment) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        wait_until_ready(client)
        yield process, client


# A handler of a signal runs on the main thread, which is the event loop's: the threads that score go on.
LOOP_STALLS = "import signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: time.sleep(1))\n"


@pytest.mark.parametrize("what", ["the process", "the event loop"])
@pytest.mark.parametrize("stalls", [1, pytest.param(10, marks=pytest.mark.prove)])
def test_what_stands_still_for_a_second_loses_no_request(
    tmp_path: Path, stalls: int, what: str, record_property: Record
) -> None:
    """SIGSTOP stops every thread, as a frozen container or a paused virtual machine does."""
    seconds: list[float] = []

    async def load(url: httpx.URL, process: "subprocess.Popen[str]") -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        async def ask(caller: httpx.AsyncClient) -> None:
            while not ended.is_set():
                began = loop.time()
                answer = await caller.post("/score", json=RED)
                assert answer.status_code == 200
                seconds.append(loop.time() - began)

        async with httpx.AsyncClient(base_url=url, timeout=30) as caller:
            asking = [asyncio.create_task(ask(caller)) for _ in range(CALLERS)]
            for _ in range(stalls):
                await asyncio.sleep(0.3)
                process.send_signal(signal.SIGSTOP if what == "the process" else signal.SIGUSR1)
                await asyncio.sleep(1)
                process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.3)
            ended.set()
            await asyncio.gather(*asking)
            assert (await caller.get("/readyz")).status_code == 200

    with started(tmp_path, LOOP_STALLS) as (process, client):
        asyncio.run(load(client.base_url, process))
    assert sum(one >= 0.9 for one in seconds) >= stalls
    record_property("tried", f"{stalls} stalls of {what} for 1 s under {len(seconds):,} requests")
    record_property("lost", f"no request; the slowest took {max(seconds):.1f} s")


# Ten years on, ten years back, each time that somebody looks. The monotonic clock cannot jump.
CLOCK_JUMPS = """
import itertools, time
real, real_ns, looks = time.time, time.time_ns, itertools.count()
time.time = lambda: real() + (next(looks) % 3 - 1) * 315_576_000
time.time_ns = lambda: real_ns() + (next(looks) % 3 - 1) * 315_576_000 * 10**9
"""


@pytest.mark.parametrize("requests", [100, pytest.param(5_000, marks=pytest.mark.prove)])
def test_a_clock_that_jumps_by_years_loses_no_request(tmp_path: Path, requests: int, record_property: Record) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old")
    environment = {"SALVER_API_KEYS_FILE": str(keys), "SALVER_RATE_LIMIT_IMAGES_PER_SECOND": "10000"}
    with started(tmp_path, CLOCK_JUMPS, **environment) as (process, client):
        for key in ("old", "new"):
            keys.write_text(key)
            client.headers["Authorization"] = f"Bearer {key}"
            wait_until_ready(client, path="/model")
            for _ in range(requests // 2):
                assert client.post("/score", json=RED).json()[0]["label"] == "left R"
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(set(re.findall(r'"time": "(\d{4})', log))) > 1
    record_property("tried", f"{requests:,} requests, a change of keys and an end while the clock jumps by ten years")
    record_property("lost", "nothing")


def kinds_of_work() -> list[tuple[bytes, str]]:
    """Body and Content-Type: an image that does not fit into little memory, photos that may, and one that does."""
    large = photo(3872, 2592)
    item = {"image_in_base64": base64.b64encode(large).decode()}
    return [
        (solid((200, 30, 40), 6000, 6000), "image/png"),
        (json.dumps([item] * 8).encode(), "application/json"),
        (large, "image/jpeg"),
        (solid((200, 30, 40)), "image/png"),
    ]


def family(pid: int) -> set[int]:
    """The process and those below it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@pytest.mark.parametrize(
    "rooms", [[10], pytest.param(range(0, 60, 5), marks=[pytest.mark.prove, pytest.mark.timeout(300)])], ids=len
)
def test_near_the_end_of_its_memory_the_service_refuses_what_does_not_fit_and_lives(
    tmp_path: Path, rooms: Sequence[int], record_property: Record
) -> None:
    """A limit on addresses, so many MiB over what each process of it has; a container's would end it, a replica go on.

    A compiled library that finds no memory can end a request's connection or give it a 500; never a wrong answer.
    """
    work = kinds_of_work()
    ends: Counter[str] = Counter()

    async def crowd(url: httpx.URL) -> None:
        async def ask(caller: httpx.AsyncClient, body: bytes, form: str) -> None:
            for _ in range(3):
                try:
                    answer = await caller.post("/score", content=body, headers={"Content-Type": form})
                except httpx.TransportError:
                    ends["the connection ended"] += 1
                    continue
                ends[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    found = [one["error"]["type"] if "error" in one else one["label"] for one in answer.json()]
                    # Of a list, an image for which there was no memory is an error among the others.
                    assert set(found) <= {"left R", "left G", "urn:salver:overloaded", "urn:salver:image-too-large"}

        async with httpx.AsyncClient(base_url=url, timeout=60) as caller:
            await asyncio.gather(*(ask(caller, *one) for one in work * 2))

    for room in rooms:
        with started(tmp_path) as (process, client):
            before = {pid: resource.prlimit(pid, resource.RLIMIT_AS) for pid in family(process.pid)}
            for pid, (_, most) in before.items():
                status = (Path("/proc") / str(pid) / "status").read_text()
                addresses = int(re.findall(r"VmSize:\s+(\d+) kB", status)[0]) * 1024
                resource.prlimit(pid, resource.RLIMIT_AS, (addresses + room * MIB, most))
            asyncio.run(crowd(client.base_url))
            assert client.post("/score", json=RED).status_code == 200
            for pid in before.keys() & family(process.pid):
                resource.prlimit(pid, resource.RLIMIT_AS, before[pid])
            for body, form in work:
                assert client.post("/score", content=body, headers={"Content-Type": form}).status_code == 200
            assert process.poll() is None
    assert ends["200"] > 0.5 * ends.total()
    assert ends["413"] >= len(rooms)
    assert ends.keys() <= {"200", "413", "429", "500", "the connection ended"}
    record_property("tried", f"{ends.total():,} requests with {rooms[0]} to {rooms[-1]} MiB of memory left")
    lost = ", ".join(f"{count} x {end}" for end, count in sorted(ends.items()) if end != "200")
    record_property("lost", f"what did not fit: {lost}")
