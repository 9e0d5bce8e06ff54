"""A run of the model that does not end is ended, and meanwhile no balancer sends requests here."""

import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.support.images import solid
from tests.support.live import free_port, running_service, service_process, wait_until_ready
from tests.support.models import endless_for_white

pytestmark = pytest.mark.server

WHITE, BLACK = solid((255, 255, 255)), solid((0, 0, 0))
PNG = {"Content-Type": "image/png"}


@pytest.mark.slow
def test_a_run_that_does_not_end_is_ended_and_the_service_is_ready_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_service(endless_for_white(tmp_path / "model.onnx"), request_timeout_seconds=0.5) as client:
        for _ in range(4):  # more than there are scoring threads
            assert client.post("/score", content=WHITE, headers=PNG).status_code == 504
        assert client.get("/readyz").status_code == 503
        wait_until_ready(client)
        assert client.post("/score", content=BLACK, headers=PNG).status_code == 200
    assert "not ready: the model has run on an image for more than 0.5 seconds; the run is ended" in caplog.text


@pytest.mark.slow
def test_sigterm_ends_the_process_in_time_whatever_the_model_does(tmp_path: Path) -> None:
    port = free_port()
    settings = {"SALVER_DRAIN_SECONDS": "0", "SALVER_REQUEST_TIMEOUT_SECONDS": "2"}
    with (
        service_process(endless_for_white(tmp_path / "model.onnx"), port, **settings) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_until_ready(client)
        with pytest.raises(httpx.ReadTimeout):
            client.post("/score", content=WHITE, headers=PNG, timeout=0.3)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(15) == 0
        assert time.monotonic() - began < 2 + 1 + 3
