"""Master and workers as on several machines; the workers know nothing but where their master is."""

import subprocess
from pathlib import Path

import pytest

from loadtest.results.result import Result
from tests.loadtest.generator import SMALL, command, environment
from tests.loadtest.stub import Stub, running
from tests.support.live import free_port

pytestmark = pytest.mark.soak


def test_workers_take_the_options_of_their_master_and_share_its_rate(tmp_path: Path) -> None:
    path, port = tmp_path / "result.json", str(free_port())
    options = [*SMALL, "--rate", "20", "--users", "10", "--run-time", "5", "--result", str(path)]
    with running(Stub(seconds=0.02)) as stub:
        master = command(stub.url, *options, "--master", "--expect-workers", "2", "--master-bind-port", port)
        worker = command(stub.url, "--worker", "--master-host", "127.0.0.1", "--master-port", port)
        worker = [word for word in worker if word not in ("--headless", "--only-summary")]
        quiet = subprocess.DEVNULL
        processes = [
            subprocess.Popen(line, env=environment(), stdin=quiet, stdout=quiet, stderr=quiet)
            for line in (master, worker, worker)
        ]
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    result = Result.model_validate_json(path.read_text())
    assert result.generator.processes == 2
    assert [kind.name for kind in result.kinds] == ["base64, one image"]
    assert result.achieved_rate == pytest.approx(20, rel=0.5)
