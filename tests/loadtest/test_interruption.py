"""A run that Ctrl-C or SIGTERM ends before its time, by Locust alone."""

import signal
import subprocess
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from loadtest.results.result import Result
from tests.loadtest.generator import SMALL, command, environment
from tests.loadtest.stub import Stub, running

pytestmark = pytest.mark.slow

INVALID = 3


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGINT, ["--run-time", "60"]), (signal.SIGTERM, [])],
    ids=["Ctrl-C", "SIGTERM, of a run without an end"],
)
def test_an_interrupted_run_is_never_a_pass(number: signal.Signals, options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with running(Stub(seconds=0.01)) as stub:
        line = command(stub.url, *SMALL, "--warm-up", "0", "--users", "2", "--result", str(path), *options)
        with subprocess.Popen(line, env=environment(), text=True, stdin=DEVNULL, stdout=PIPE, stderr=PIPE) as run:
            assert stub.asked.wait(60)
            run.send_signal(number)
            words, errors = run.communicate(timeout=60)
    assert run.returncode == INVALID, words
    assert "Traceback" not in errors
    reason = Result.model_validate_json(path.read_text()).reasons[0]
    assert f"load test: INVALID\n  {reason}\n" in words
    assert reason.startswith("the run was interrupted after ")
