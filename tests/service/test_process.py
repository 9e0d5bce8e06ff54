"""The service as the process that a container runs."""

import base64
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.images import solid
from tests.live import free_port, service_process, wait_until_ready
from tests.models import probe

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


def test_ctrl_c_ends_it_with_0(tmp_path: Path) -> None:
    port = free_port()
    with (
        service_process(probe(tmp_path / "model.onnx"), port, SALVER_DRAIN_SECONDS="0") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, attempts=500)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("environment", "arguments", "code", "words"),
    [
        ({"SALVER_MODEL": "absent.onnx"}, [], 1, "absent.onnx cannot be read"),
        ({"SALVER_MODEL": "EMPTY"}, [], 1, "cannot be loaded"),
        ({"SALVER_MODEL": "MODEL", "SALVER_DEVICE": "cuda"}, [], 1, "SALVER_DEVICE is cuda"),
        ({"SALVER_MODEL": "MODEL", "SALVER_MAX_ITEM": "1"}, [], 2, "did you mean SALVER_MAX_ITEMS"),
        ({"SALVER_MODEL": "MODEL", "SALVER_API_KEYS": ""}, [], 2, "SALVER_API_KEYS holds no key"),
        ({"SALVER_MODEL": "MODEL"}, ["--host", "0.0.0.0"], 2, "SALVER_ALLOW_ANONYMOUS"),
        ({}, [], 2, "SALVER_MODEL"),
    ],
)
def test_what_cannot_be_served_ends_the_process_with_one_line(
    tmp_path: Path, environment: dict[str, str], arguments: list[str], code: int, words: str
) -> None:
    """ON03, ON07, K812."""
    (tmp_path / "empty.onnx").touch()
    files = {"MODEL": str(probe(tmp_path / "model.onnx")), "EMPTY": str(tmp_path / "empty.onnx")}
    command = [sys.executable, "-m", "service", "--port", str(free_port()), *arguments]
    variables = {name: files.get(value, value) for name, value in environment.items()}
    began = time.monotonic()
    ended = subprocess.run(
        command, env={"SALVER_LOG_FORMAT": "text", **variables}, capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode == code
    assert time.monotonic() - began < 10
    assert "Traceback" not in ended.stderr
    assert len([line for line in ended.stderr.splitlines() if words in line]) == 1


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
