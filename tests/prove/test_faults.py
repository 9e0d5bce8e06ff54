"""Faults under load: what is lost, and that the service comes back without a person. docs/security.md has the table."""

import asyncio
import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service.limits.key_file import KeyFile
from service.limits.request import Keys
from service.scoring.watch import signature
from tests.support.images import solid
from tests.support.live import free_port, running_service, service_process, wait_until_ready
from tests.support.models import constant, probe

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
CALLERS = 8
Record = Callable[[str, object], None]


@pytest.mark.parametrize("images", [150, pytest.param(10_000, marks=[pytest.mark.prove, pytest.mark.timeout(300)])])
def test_kill_9_of_one_of_two_replicas_loses_no_request_that_is_sent_again(
    tmp_path: Path, images: int, record_property: Record
) -> None:
    """The callers stand for a load balancer: what has no answer goes to the other replica, once."""
    model, ports = probe(tmp_path / "model.onnx"), [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    statuses: Counter[int] = Counter()
    sent_again = 0

    with ExitStack() as stack:
        replicas = [stack.enter_context(service_process(model, port, SALVER_DRAIN_SECONDS="0")) for port in ports]
        for url in urls:
            wait_until_ready(stack.enter_context(httpx.Client(base_url=url)))

        async def ask(caller: httpx.AsyncClient, numbers: "list[int]") -> None:
            nonlocal sent_again
            while numbers:
                number = numbers.pop()
                try:
                    answer = await caller.post(f"{urls[number % 2]}/score", json=RED)
                except httpx.TransportError:
                    sent_again += 1
                    answer = await caller.post(f"{urls[1 - number % 2]}/score", json=RED)
                statuses[answer.status_code] += 1
                assert answer.json()[0]["label"] == "left R"
                if number == 2 * images // 3:
                    replicas[0].kill()

        async def ask_all() -> None:
            numbers = list(range(images))
            async with httpx.AsyncClient(timeout=30) as caller:
                await asyncio.gather(*(ask(caller, numbers) for _ in range(CALLERS)))

        asyncio.run(ask_all())
        assert replicas[0].wait(10) == -signal.SIGKILL
        stack.enter_context(service_process(model, ports[0], SALVER_DRAIN_SECONDS="0"))  # as an orchestrator does
        client = stack.enter_context(httpx.Client(base_url=urls[0]))
        wait_until_ready(client)
        assert client.post("/score", json=RED).status_code == 200
    assert statuses == {200: images}
    assert sent_again
    record_property("tried", f"{images:,} requests, one kill -9")
    record_property("lost", f"nothing; {sent_again} had no answer from the dead replica and one from the other")


@pytest.mark.parametrize("changes", [10, pytest.param(300, marks=pytest.mark.prove)])
def test_a_model_file_that_is_written_over_while_it_is_read_is_served_whole_or_not_at_all(
    tmp_path: Path, changes: int, record_property: Record
) -> None:
    """Written in pieces into the same file, which `cp` does and Salver's own export never does."""
    files = [constant(tmp_path / f"{logits}.onnx", logits).read_bytes() for logits in ([3, 2, 1], [1, 2, 3])]
    path = tmp_path / "model.onnx"
    path.write_bytes(files[0])
    good = {hashlib.sha256(file).hexdigest() for file in files}
    admin, statuses, versions = {"Authorization": "Bearer admin"}, Counter[int](), set[str]()
    with running_service(path, admin_keys="admin") as client:
        for number in range(changes):
            data = files[number % 2]
            with path.open("r+b") as stream:
                for at in range(0, len(data), len(data) // 3):
                    stream.write(data[at : at + len(data) // 3])
                    stream.flush()
                    statuses[client.post("/model/reload", headers=admin).status_code] += 1
                stream.truncate()
            answer = client.post("/score", json=RED)
            assert answer.status_code == 200
            versions.add(answer.headers["x-model-version"])
        path.write_bytes(files[0])
        assert client.post("/model/reload", headers=admin).json()["version"] == hashlib.sha256(files[0]).hexdigest()
    assert versions <= good
    assert set(statuses) <= {200, 409}
    record_property("tried", f"{sum(statuses.values())} reads of a file that was being written")
    record_property("lost", f"nothing; {statuses[409]} half-written files refused, the model before served on")


def test_no_date_decides_anything_so_that_a_clock_may_jump(tmp_path: Path) -> None:
    """Times are taken from the monotonic clock; of a file's date it counts only that it is another one."""
    for path in (ROOT / "service").rglob("*.py"):
        if path.name != "tracing.py":  # a span's times are for people
            assert not re.search(r"time\.time(_ns)?\(|datetime\.(now|utcnow)|localtime\(", path.read_text()), path
    keys = tmp_path / "keys"
    keys.write_text("old")
    clock = iter(range(1000))
    file = KeyFile("SALVER_API_KEYS_FILE", keys, lambda: next(clock))
    accepted = Keys([], file)
    for number, date in enumerate((4_102_444_800, 0, 86_400)):  # the years 2100 and 1970
        before = signature(str(keys))
        keys.write_text(f"new{number}")
        os.utime(keys, (date, date))
        assert signature(str(keys)) != before
        file.look()
        file.look()
        accepted.check(f"Bearer new{number}".encode())


OUT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from salver.artifact.errors import ImageTooLarge
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode, to_pixels
spec = PixelSpec(height=32, width=32, resize="stretch")
large, small = (Path(name).read_bytes() for name in sys.argv[1:])
to_pixels(decode(small, spec), spec)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, -1))
for _ in range(3):
    try:
        decode(large, spec)
        sys.exit("it fitted")
    except ImageTooLarge as error:
        assert "memory" in str(error), error
    to_pixels(decode(small, spec), spec)
"""


def test_an_image_for_which_there_is_no_memory_is_its_own_error_and_the_next_one_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(solid((1, 2, 3), 4000, 4000))
    (tmp_path / "small.png").write_bytes(solid((1, 2, 3)))
    command = [sys.executable, "-c", OUT_OF_MEMORY, str(tmp_path / "large.png"), str(tmp_path / "small.png")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.torch
@pytest.mark.prove
def test_an_output_that_cannot_be_written_is_one_line_before_any_image_is_looked_at(
    tmp_path: Path, record_property: Record
) -> None:
    """/proc takes no folders, not even root's."""
    (tmp_path / "photos").mkdir()
    command = [sys.executable, "-m", "training", str(tmp_path / "photos"), "--weights", "none", "--out", "/proc/run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "/proc/run" in done.stderr
    record_property("tried", "one run")
    record_property("lost", "nothing; it ends with one line")
