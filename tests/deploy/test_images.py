"""The service's image on a real engine (`make images` first, then `pytest -m docker`)."""

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.images import photo
from tests.live import wait_until_ready
from tests.models import probe

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
    return (*CONFINED, "--volume", f"{model}:/model/model.onnx:ro", *more, IMAGE)


@contextmanager
def container(model: Path, *more: str) -> Iterator[tuple[str, str]]:
    """Its number and URL."""
    number = docker("run", "--detach", "--publish", "127.0.0.1::8000", *options(model, *more)).stdout.strip()
    try:
        yield number, "http://" + docker("port", number, "8000/tcp").stdout.split()[0]
    finally:
        docker("rm", "--force", number)


def test_a_confined_container_scores_writes_nothing_outside_tmp_and_starts_within_3_seconds(model: Path) -> None:
    """K809."""
    began = time.monotonic()
    with container(model, "--env", "SALVER_API_KEYS=k") as (number, url), httpx.Client(base_url=url) as client:
        wait_until_ready(client)
        assert client.post("/score", json=BODY, headers={"Authorization": "Bearer k"}).status_code == 200
        assert time.monotonic() - began < 3
        assert client.post("/score", json=BODY).status_code == 401
        changed = docker("diff", number).stdout.split()
        assert not [path for path in changed[1::2] if not path.startswith(("/tmp", "/model", "/dev"))]
        assert "HOME" not in docker("logs", number).stderr


def test_docker_stop_under_20_requests_a_second_drops_none(model: Path) -> None:
    """K801: connections that come while it drains are served; the balancer stops sending within a second."""
    with container(model, "--env", "SALVER_ALLOW_ANONYMOUS=true", "--env", "SALVER_DRAIN_SECONDS=3") as (number, url):
        with httpx.Client(base_url=url) as client:
            wait_until_ready(client)
        statuses = asyncio.run(stop_under_load(number, url))
        state = json.loads(docker("inspect", number).stdout)[0]["State"]
    assert len(statuses) == RATE * (SECONDS_BEFORE + SECONDS_AFTER)
    assert set(statuses) == {200}
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


async def stop_under_load(number: str, url: str) -> list[int]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def send(index: int) -> int:
            await asyncio.sleep(index / RATE)
            return (await client.post("/score", json=BODY)).status_code

        sent = [asyncio.create_task(send(index)) for index in range(RATE * (SECONDS_BEFORE + SECONDS_AFTER))]
        await asyncio.sleep(SECONDS_BEFORE)
        stop = asyncio.create_task(asyncio.to_thread(docker, "stop", "--time", "40", number))
        statuses = await asyncio.gather(*sent)
        await stop
    return statuses


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SALVER_MODEL": "/model/none.onnx", "SALVER_API_KEYS": "k"}, "/model/none.onnx"),
        ({"SALVER_API_KEYS_FILE": "/none"}, "SALVER_API_KEYS_FILE cannot be read"),
        ({"SALVER_API_KEYS": ""}, "holds no key"),
        ({}, "Without a key the service listens on loopback only"),
        ({"SALVER_MAX_ITEM": "3"}, "did you mean SALVER_MAX_ITEMS?"),
    ],
)
def test_what_is_wrong_is_one_clear_line_and_another_code_than_0(
    model: Path, settings: dict[str, str], words: str
) -> None:
    """K812."""
    environment = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    ended = docker("run", "--rm", *options(model, *environment))
    assert ended.returncode in (1, 2)
    assert words in ended.stderr.splitlines()[-1]


def test_the_image_is_labelled_and_holds_no_torch_and_no_compiler(model: Path) -> None:
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", IMAGE).stdout)
    assert {"org.opencontainers.image.version", "org.opencontainers.image.revision"} <= labels.keys()
    look = "import importlib.util as u, shutil as s; print(u.find_spec('torch'), s.which('gcc'))"
    assert docker("run", "--rm", "--entrypoint", "python", IMAGE, "-c", look).stdout == "None None\n"
