import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.telemetry.logs import JsonFormatter, LineHandler, TextFormatter
from tests.support.images import solid
from tests.support.live import free_port, service_process, wait_until_ready
from tests.support.models import probe

pytestmark = pytest.mark.server

RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
NASTY = 'a\nfake line\r\x1b[31m\x9b "quoted" \u2028 \ud800 ☕'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


def record(message: str, **fields: str | int) -> logging.LogRecord:
    log = logging.getLogger("salver.test")
    return log.makeRecord(log.name, logging.INFO, "", 0, "%s", (message,), None, extra={"fields": fields})


def test_a_json_line_holds_the_message_and_the_fields_whatever_is_in_them() -> None:
    line = JsonFormatter().format(record(NASTY, route="/score", status=200))
    assert line.isascii()
    assert line.isprintable()
    read = json.loads(line)
    assert read["message"] == NASTY
    assert (read["level"], read["logger"], read["route"], read["status"]) == ("info", "salver.test", "/score", 200)
    assert read["time"].endswith("+00:00")


def test_a_text_line_stays_one_line() -> None:
    line = TextFormatter("%(levelname)s %(message)s").format(record(NASTY, route="/score", status=200))
    assert line.startswith("INFO a\\x0afake line\\x0d\\x1b[31m\\x9b")
    assert line.endswith("☕ route=/score status=200")
    assert len(line.splitlines()) == 1


def test_a_traceback_is_kept() -> None:
    try:
        raise ZeroDivisionError("a fault of ours")
    except ZeroDivisionError:
        failed = logging.LogRecord("salver", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    assert "a fault of ours" in json.loads(JsonFormatter().format(failed))["traceback"]
    assert "a fault of ours" in TextFormatter("%(message)s").format(failed).splitlines()[-1]


def handler(descriptor: int) -> LineHandler:
    lines = LineHandler(descriptor)
    lines.setFormatter(logging.Formatter("%(message)s"))
    return lines


def test_a_full_disk_costs_lines_only() -> None:
    with Path("/dev/full").open("wb") as full:
        lines = handler(full.fileno())
        lines.handle(record("hello"))
        lines.handle(record("hello"))
    assert lines.dropped_lines == 2


def test_a_reader_that_is_gone_costs_lines_only() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = handler(writer)
    lines.handle(record("hello"))
    os.close(writer)
    lines.handle(record("hello"))
    assert lines.dropped_lines == 2


def test_a_reader_that_hangs_costs_lines_only_and_later_lines_begin_anew() -> None:
    reader, writer = os.pipe()
    lines = handler(writer)
    for _ in range(100):
        lines.handle(record("x" * 10_000))
    assert lines.dropped_lines >= 90
    os.set_blocking(reader, False)
    while drained(reader):
        pass
    lines.handle(record("hello"))
    assert os.read(reader, 65536).splitlines()[-1] == b"hello"
    os.close(reader)
    os.close(writer)


def drained(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except BlockingIOError:
        return b""


def test_a_message_that_does_not_fit_its_arguments_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    lines = handler(2)
    lines.handle(logging.LogRecord("salver", logging.INFO, "", 0, "%d images", ("two",), None))
    assert "Logging error" in capsys.readouterr().err


@contextmanager
def process_writing_to(model: Path, port: int, redirection: str) -> Iterator[httpx.Client]:
    """The service with its standard error redirected by a shell."""
    command = ["sh", "-c", f"exec {sys.executable} -m service --port {port} {redirection}"]
    variables = {"PATH": "/usr/bin:/bin", "SALVER_MODEL": str(model), "SALVER_DRAIN_SECONDS": "0"}
    with (
        subprocess.Popen(command, env=variables) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        try:
            wait_until_ready(client, attempts=500)
            yield client
        finally:
            process.terminate()
    assert process.returncode == 0


def dropped(client: httpx.Client) -> float:
    page = client.get("/metrics").text.splitlines()
    return float(next(line for line in page if line.startswith("salver_log_lines_dropped_total")).split()[1])


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_the_service_scores_on_without_a_place_for_its_log(model: Path, redirection: str) -> None:
    with process_writing_to(model, free_port(), redirection) as client:
        assert {client.post("/score", json=RED).status_code for _ in range(20)} == {200}
        assert client.get("/nowhere").status_code == 404
        assert (dropped(client) >= 20) == (redirection == "2>/dev/full")


@pytest.mark.slow
def test_the_service_scores_on_while_nobody_reads_its_log(model: Path) -> None:
    port = free_port()
    with (
        service_process(model, port, SALVER_DRAIN_SECONDS="0") as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client, attempts=500)
        assert {client.post("/score", json=RED).status_code for _ in range(500)} == {200}
        assert dropped(client) > 0
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_process_writes_one_line_a_request_and_nothing_of_its_content(model: Path, form: str) -> None:
    port = free_port()
    with (
        service_process(
            model, port, SALVER_DRAIN_SECONDS="0", SALVER_LOG_FORMAT=form, SALVER_API_KEYS="s3cret"
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer s3cret"}) as client,
    ):
        wait_until_ready(client, attempts=500)
        trace_ids = [
            client.post("/score", json=RED).headers["x-request-id"],
            client.post("/score?token=s3cret", json=RED).headers["x-request-id"],
            client.get("/s3cret/%0afake", headers={"User-Agent": "s3cret", "X-Request-Id": "s3cret"}).headers[
                "x-request-id"
            ],
        ]
        process.terminate()
        assert process.stderr is not None
        lines = [line for line in process.stderr.read().splitlines() if "salver.access" in line]
    answered = [line for line in lines if "readyz" not in line]
    assert len(answered) == 3
    assert all(trace_id in line for trace_id, line in zip(trace_ids, answered, strict=True))
    assert not any(secret in line for line in lines for secret in ("s3cret", "fake", RED["image_in_base64"][:40]))
    if form == "json":
        fields = [json.loads(line) for line in answered]
        assert [(line["route"], line["status"]) for line in fields] == [
            ("/score", 200),
            ("/score", 422),
            ("unknown", 404),
        ]
    else:
        assert "request method=POST route=/score status=200 seconds=0." in answered[0]
