"""A service as a process of one block: what the demo, load tests and benchmarks start."""

from pathlib import Path

import psutil
import pytest

from salver.client.errors import DeploymentFailed
from salver.client.result import Score
from salver.client.scoring import ScoringClient
from salver.deployment.ready import answers_ready, free_port, process_of, running_service, serve_command
from tests.support.images import photo
from tests.support.models import probe

pytestmark = pytest.mark.server

KEY = "chosen-key-of-length"


@pytest.mark.server
def test_a_service_answers_within_its_block_with_the_settings_that_were_chosen_and_ends_with_it(tmp_path: Path) -> None:
    model = probe(tmp_path / "model.onnx")
    with (
        running_service(model, {"SALVER_API_KEYS": KEY}, timeout_seconds=60) as url,
        ScoringClient(url, KEY) as client,
    ):
        assert isinstance(client.score(photo(48, 40))[0], Score)
    assert not answers_ready(url)


@pytest.mark.server
def test_a_service_that_ends_before_it_is_ready_is_an_error_at_once(tmp_path: Path) -> None:
    wrong = {"SALVER_LOG_FORMAT": "?"}
    with (
        (tmp_path / "log").open("w") as log,
        pytest.raises(DeploymentFailed, match="ended before it was ready"),
        running_service(tmp_path / "none.onnx", wrong, timeout_seconds=60, stderr=log),
    ):
        pass
    assert "SALVER_LOG_FORMAT" in (tmp_path / "log").read_text()


def test_a_process_is_ended_and_waited_for_whatever_happens_in_its_block() -> None:
    with pytest.raises(LookupError), process_of(["sleep", "60"], {"PATH": "/usr/bin:/bin"}) as process:
        raise LookupError
    assert not psutil.pid_exists(process.pid)


def test_a_service_is_started_so_that_nothing_in_the_current_folder_is_run() -> None:
    port = free_port()
    assert serve_command(port)[1:] == ["-P", "-m", "service", "--port", str(port)]
