"""`salver loadtest local`: a load test and the service that it starts."""

import subprocess
import sys
import threading
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest

from tests.support.models import by_colour

pytestmark = pytest.mark.slow


def test_an_interrupted_load_test_is_no_pass_and_leaves_no_service_behind(tmp_path: Path) -> None:
    model, out = by_colour(tmp_path / "model.onnx"), tmp_path / "out"
    line = [sys.executable, "-m", "salver", "loadtest", "local", str(model), "--out", str(out)]
    with subprocess.Popen([*line, "--sizes", "thumbnail=1"], text=True, stdout=PIPE, stderr=PIPE) as process:
        started = children(process.pid)
        process.terminate()
        _, words = process.communicate(timeout=60)
    assert process.returncode == 143, words
    assert words.endswith(f"Interrupted; what was measured until then lies in {out}.\n")
    assert "Traceback" not in words
    assert not [child for child in started if child.is_running()]


def children(pid: int) -> list[psutil.Process]:
    """The service and Locust, as soon as both are there."""
    for _ in range(1000):
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        if any("locust" in child.cmdline() for child in found):
            return found
        threading.Event().wait(0.02)
    raise AssertionError("Locust was not started.")
