"""The service's image on a real engine (`make images` first, then `pytest -m docker`)."""

import asyncio
import base64
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.images import photo
from tests.support.live import wait_until_ready
from tests.support.models import probe

pytestmark = pytest.mark.docker

IMAGE = "salver-serve:cpu"
CONFINED = (
    *("--read-only", "--tmpfs", "/tmp", "--user", "65532:0", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--memory", "512m", "--cpus", "1"),
)
BODY = [{"image_in_base64": base64.b64encode(photo(48, 40)).decode()}]
RATE, SECONDS_BEFORE, SECONDS_AFTER = 20, 2, 1


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # the container's user is another
    return probe(tmp_path / "model.onnx")


def options(model: Path, *more: str) -> tuple[str, ...]:
    return (*CONFINED, "--volume", f"{model.parent}:/model:ro", *more, IMAGE)


@contextmanager
def container(model: Path, *more: str) -> Iterator[tuple[str, str]]:
    """Its number and URL."""
    number = docker("run", "--detach", "--publish", "127.0.0.1::8000", *options(model, *more)).stdout.strip()
    try:
        yield number, "http://" + docker("port", number, "8000/tcp").stdout.split()[0]
    finally:
        docker("rm", "--force", number)


def test_a_confined_container_scores_writes_nothing_outside_tmp_and_starts_within_3_seconds(model: Path) -> None:
    began = time.monotonic()
    with container(model, "--env", "SALVER_API_KEYS=k") as (number, url), httpx.Client(base_url=url) as client:
        wait_until_ready(client)
        assert client.post("/score", json=BODY, headers={"Authorization": "Bearer k"}).status_code == 200
        assert time.monotonic() - began < 3
        assert client.post("/score", json=BODY).status_code == 401
        changed = docker("diff", number).stdout.split()
        assert not [path for path in changed[1::2] if not path.startswith(("/tmp", "/model", "/dev"))]
        assert "HOME" not in docker("logs", number).stderr
        writable = "find / -writable -not -path '/proc/*' -not -path '/sys/*' -not -path '/dev/*' -not -type l"
        assert docker("exec", number, "sh", "-c", writable).stdout.split() == ["/tmp"]


def test_any_user_of_any_group_will_do(model: Path) -> None:
    options = ("--user", "1000690000:1000", "--env", "SALVER_API_KEYS=k")
    with container(model, *options) as (_, url), httpx.Client(base_url=url) as client:
        wait_until_ready(client)


def test_the_images_health_check_turns_from_starting_to_healthy(model: Path) -> None:
    with container(model, "--env", "SALVER_API_KEYS=k") as (number, _):
        seen = [health(number)]
        for _ in range(100):
            if seen[-1] != "starting":
                break
            threading.Event().wait(0.2)
            seen.append(health(number))
    assert (seen[0], seen[-1]) == ("starting", "healthy")


def health(number: str) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", number).stdout.strip()


@pytest.mark.parametrize(("cpus", "memory", "budget_mib"), [("1", "512m", 128), ("2", "256m", 64)])
def test_threads_and_memory_follow_the_containers_limits(model: Path, cpus: str, memory: str, budget_mib: int) -> None:
    """This machine's cgroup version; tests/service has recorded files of both."""
    look = (
        "import salver.system.cores as c, service.scoring.machine as m; "
        "print(c.available_cores(), m.default_budget_bytes(0))"
    )
    limits = ("--cpus", cpus, "--memory", memory, "--env", "SALVER_API_KEYS=k")
    with container(model, *limits) as (number, url), httpx.Client(base_url=url) as client:
        wait_until_ready(client)
        cores = min(int(cpus), len(os.sched_getaffinity(0)))
        assert docker("exec", number, "python", "-c", look).stdout.split() == [str(cores), str(budget_mib * 1024**2)]


def test_fifty_clients_with_sixteen_large_photos_each_do_not_end_a_container_of_512_mib(model: Path) -> None:
    body = json.dumps([{"image_in_base64": base64.b64encode(photo(3872, 2592)).decode()}] * 16).encode()
    with container(model, "--env", "SALVER_ALLOW_ANONYMOUS=true") as (number, url):
        with httpx.Client(base_url=url) as client:
            wait_until_ready(client)
        answers = asyncio.run(all_at_once(url, body))
        state = inspect(number)
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
    assert (state["OOMKilled"], state["Running"]) == (False, True)


async def all_at_once(url: str, body: bytes) -> list[httpx.Response]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        headers = {"Content-Type": "application/json"}
        return await asyncio.gather(*[client.post("/score", content=body, headers=headers) for _ in range(50)])


def test_docker_stop_under_20_requests_a_second_drops_none(model: Path) -> None:
    """Connections that come while it drains are served, and so is a request that takes 5 seconds to arrive."""
    with container(model, "--env", "SALVER_ALLOW_ANONYMOUS=true", "--env", "SALVER_DRAIN_SECONDS=3") as (number, url):
        with httpx.Client(base_url=url) as client:
            wait_until_ready(client)
        statuses = asyncio.run(stop_under_load(number, url))
        state = inspect(number)
    assert len(statuses) == RATE * (SECONDS_BEFORE + SECONDS_AFTER) + 1
    assert set(statuses) == {200}
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def inspect(number: str) -> dict[str, object]:
    state: dict[str, object] = json.loads(docker("inspect", "--format", "{{json .State}}", number).stdout)
    return state


async def stop_under_load(number: str, url: str) -> list[int]:
    """The status of each request; Docker is told to stop after SECONDS_BEFORE, and SECONDS_AFTER more keep coming."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=30) as kept,
        httpx.AsyncClient(base_url=url, timeout=30, limits=httpx.Limits(max_keepalive_connections=0)) as fresh,
    ):

        async def send(index: int) -> int:
            await asyncio.sleep(index / RATE)
            return (await (fresh if index % 2 else kept).post("/score", json=BODY)).status_code

        async def slow() -> int:
            await asyncio.sleep(SECONDS_BEFORE - 0.5)
            headers = {"Content-Type": "application/json"}
            return (await fresh.post("/score", content=in_two_halves(), headers=headers)).status_code

        sent = [asyncio.create_task(send(index)) for index in range(RATE * (SECONDS_BEFORE + SECONDS_AFTER))]
        sent.append(asyncio.create_task(slow()))
        await asyncio.sleep(SECONDS_BEFORE)
        stop = asyncio.create_task(asyncio.to_thread(docker, "stop", "--time", "40", number))
        statuses = await asyncio.gather(*sent)
        await stop
    return statuses


async def in_two_halves() -> AsyncIterator[bytes]:
    body = json.dumps(BODY).encode()
    yield body[:100]
    await asyncio.sleep(5)
    yield body[100:]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SALVER_MODEL": "/model/none.onnx", "SALVER_API_KEYS": "k"}, "/model/none.onnx"),
        (
            {"SALVER_MODEL": "/etc/passwd", "SALVER_API_KEYS": "k"},
            "/etc/passwd cannot be loaded: it is not an ONNX file",
        ),
        ({"SALVER_API_KEYS_FILE": "/none"}, "SALVER_API_KEYS_FILE cannot be read"),
        ({"SALVER_API_KEYS": ""}, "holds no key"),
        ({}, "Without a key the service listens on loopback only"),
        ({"SALVER_MAX_ITEM": "3"}, "did you mean SALVER_MAX_ITEMS?"),
    ],
)
def test_what_is_wrong_is_one_clear_line_and_another_code_than_0(
    model: Path, settings: dict[str, str], words: str
) -> None:
    environment = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    ended = docker("run", "--rm", *options(model, *environment))
    assert ended.returncode in (1, 2)
    *before, last = ended.stderr.splitlines()
    assert words in last
    assert not [line for line in before if '"level": "info"' not in line.lower()]


def test_the_image_is_labelled_and_holds_no_torch_and_no_compiler(model: Path) -> None:
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", IMAGE).stdout)
    assert {"org.opencontainers.image.version", "org.opencontainers.image.revision"} <= labels.keys()
    look = "import importlib.util as u, shutil as s; print(u.find_spec('torch'), s.which('gcc'))"
    assert docker("run", "--rm", "--entrypoint", "python", IMAGE, "-c", look).stdout == "None None\n"


OURS = re.compile(r"/app/(.*\.(py|pyc|js|css|html|svg)|bin/salver|salver-[^/]*\.dist-info/.*)")
PRIVATE = re.compile(r".*/(\.git/.*|\.ssh/.*|\.env|\.netrc|\.pypirc|pip\.conf|id_\w+|service_key)")


@pytest.mark.parametrize("image", [IMAGE, "salver-loadtest", "salver-fetch"])
def test_no_secret_stands_in_an_images_history_variables_or_files(image: str) -> None:
    """tests/deploy/test_image_files.py shows it of what an image is built from."""
    made = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    made += docker("image", "inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", image).stdout
    names = set(re.findall(r"(\w+)=", made))
    assert "PIP_NO_CACHE_DIR" not in names  # the stages before the last one are not in it
    secret = {name for name in names if re.search("key|token|secret|passw|credential", name, re.IGNORECASE)}
    assert secret <= {"GPG_KEY"}  # Python's own image says with it whose signature its source had
    look = ("/app", "/opt/salver", "/tmp", "-type", "f")
    found = docker("run", "--rm", "--entrypoint", "find", image, *look).stdout.splitlines()
    assert any(name.startswith("/opt/salver/") for name in found)
    assert [name for name in found if not name.startswith("/opt/salver/") and not OURS.fullmatch(name)] == []
    assert [name for name in found if PRIVATE.fullmatch(name)] == []
