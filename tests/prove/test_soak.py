"""An hour's worth of mixed work, compressed by rate: nothing grows, and the counts add up."""

import asyncio
import base64
import gzip
import json
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.images import photo
from tests.support.live import free_port, service_process, wait_until_ready
from tests.support.models import probe

pytestmark = pytest.mark.server

PHOTO = photo(320, 240)
TEXT = base64.b64encode(PHOTO).decode()
GOOD, BROKEN = {"image_in_base64": TEXT}, {"image_in_base64": "bm90IGFuIGltYWdl"}
URL = {"image_url": "http://127.0.0.1:1/"}
JSON = {"Content-Type": "application/json"}
MODEL = "/v2/models/salver/infer"
TENSOR = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": [TEXT, TEXT]}]}
CALLERS = 6


@dataclass(frozen=True)
class Kind:
    """A request, the status of its answer, and what becomes of its images."""

    body: bytes
    status: int = 200
    outcomes: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    path: str = "/score"


def form(*images: bytes) -> bytes:
    head = b'--edge\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\n'
    return b"".join(head + image + b"\r\n" for image in images) + b"--edge--\r\n"


FORM, GZIP = {"Content-Type": "multipart/form-data; boundary=edge"}, {**JSON, "Content-Encoding": "gzip"}
ONE = Kind(json.dumps(GOOD).encode(), 200, {"scored": 1})
MIX = [
    *[ONE] * 8,
    Kind(PHOTO, 200, {"scored": 1}, {"Content-Type": "image/jpeg"}),
    Kind(json.dumps([GOOD] * 5).encode(), 200, {"scored": 5}),
    Kind(json.dumps([GOOD, BROKEN, URL]).encode(), 200, {"scored": 1, "undecodable-image": 1, "url-refused": 1}),
    Kind(gzip.compress(json.dumps([GOOD] * 2).encode()), 200, {"scored": 2}, GZIP),
    Kind(form(PHOTO, b"broken", PHOTO), 200, {"scored": 2, "undecodable-image": 1}, FORM),
    Kind(json.dumps(TENSOR).encode(), 200, {"scored": 2}, JSON, MODEL),
    Kind(json.dumps(BROKEN).encode(), 422, {"undecodable-image": 1}),
    # Refused as a whole, so that none of their images is received:
    Kind(b"[{", 400),
    Kind(json.dumps([GOOD] * 9).encode(), 422),
    Kind(json.dumps(GOOD).encode(), 401, {}, {**JSON, "Authorization": "Bearer other"}),
    Kind(b" " * 600_000, 413),
    Kind(PHOTO, 415, {}, {"Content-Type": "text/plain"}),
]


@dataclass(frozen=True)
class State:
    """The process between two parts of the soak."""

    memory_bytes: int
    descriptors: int
    threads: int
    cpu_seconds: float
    """Since the process began, or of this part."""
    p50_seconds: float
    p99_seconds: float


NOTHING = State(0, 0, 0, 0, 0, 0)


def state(pid: int, client: httpx.Client, seconds: list[float]) -> State:
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    cuts = statistics.quantiles(seconds, n=100)
    memory, threads = int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"])
    ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    cpu_seconds = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    # The least of many looks: the service may not have seen yet that the callers have closed their connections.
    descriptors = min(len(list((process / "fd").iterdir())) for _ in range(50) if client.get("/healthz").is_success)
    return State(memory, descriptors, threads, cpu_seconds, cuts[49], cuts[98])


async def load(url: str, kinds: list[Kind]) -> list[float]:
    """Seconds of each request that holds one image."""
    seconds: list[float] = []
    waiting = list(reversed(kinds))

    async def ask(caller: httpx.AsyncClient) -> None:
        while waiting:
            kind = waiting.pop()
            began = time.perf_counter()
            headers = {"Authorization": "Bearer key", **kind.headers}
            answer = await caller.post(kind.path, content=kind.body, headers=headers)
            assert answer.status_code == kind.status, answer.text
            if kind is ONE:
                seconds.append(time.perf_counter() - began)

    async with httpx.AsyncClient(base_url=url, timeout=60) as caller:
        await asyncio.gather(*(ask(caller) for _ in range(CALLERS)))
    return seconds


def counts(client: httpx.Client) -> tuple[int, Counter[str], int]:
    """Images received, images by outcome, requests to the two routes that score."""
    received, outcomes, requests = 0, Counter[str](), 0
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == "salver_images_received_total":
                received = int(sample.value)
            elif sample.name == "salver_images_total":
                outcomes[sample.labels["outcome"]] = int(sample.value)
            elif sample.name == "salver_request_duration_seconds_count":
                requests += int(sample.value) if sample.labels["route"] in ("/score", "/v2/models/{name}/infer") else 0
    return received, outcomes, requests


@pytest.mark.parametrize("requests", [450, pytest.param(18_000, marks=[pytest.mark.prove, pytest.mark.timeout(600)])])
def test_under_mixed_work_nothing_grows_and_every_image_is_counted_once(
    tmp_path: Path, requests: int, record_property: Callable[[str, object], None]
) -> None:
    """18,000 requests are five a second for an hour. The first third warms up, so that only growth is left to see."""
    port, chance = free_port(), random.Random(0)
    kinds = [chance.choice(MIX) for _ in range(requests)]
    settings = {"SALVER_API_KEYS": "key", "SALVER_MAX_ITEMS": "8", "SALVER_MAX_BODY_BYTES": "500000"}
    states: list[State] = []
    with (
        service_process(probe(tmp_path / "model.onnx"), port, SALVER_DRAIN_SECONDS="0", **settings) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client)
        for part in range(3):
            third = kinds[part * requests // 3 : (part + 1) * requests // 3]
            states.append(state(process.pid, client, asyncio.run(load(str(client.base_url), third))))
        received, outcomes, answered = counts(client)
    wanted = Counter[str]()
    for kind in kinds:
        wanted.update(kind.outcomes)
    assert outcomes == wanted
    assert received == outcomes.total()
    assert answered == requests
    _, before, after = (replace(b, cpu_seconds=b.cpu_seconds - a.cpu_seconds) for a, b in pairwise([NOTHING, *states]))
    assert after.memory_bytes <= 1.1 * before.memory_bytes
    assert after.descriptors <= before.descriptors + 2
    assert after.threads <= before.threads
    assert after.cpu_seconds <= 1.5 * before.cpu_seconds + 0.1  # the short form takes a tenth of a second in all
    assert after.p50_seconds <= 3 * before.p50_seconds  # others may work on this machine at the same time
    record_property("tried", f"{requests:,} requests with {received:,} images")
    record_property("lost", "nothing; " + ", ".join(told(one) for one in states))


def told(one: State) -> str:
    return (
        f"{one.memory_bytes / 2**20:.0f} MiB {one.descriptors} descriptors {one.threads} threads "
        f"p50 {one.p50_seconds * 1000:.1f} ms p99 {one.p99_seconds * 1000:.1f} ms"
    )
