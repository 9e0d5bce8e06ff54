"""The generator itself over many large requests."""

import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from loadtest.results.result import Result
from tests.loadtest.generator import command, environment
from tests.loadtest.stub import Stub, running
from tests.support.images import encode

MEGABYTES = 2
LONG = [pytest.mark.soak, pytest.mark.timeout(280)]


def large_photos(folder: Path) -> None:
    """Noise, of which a base64 body is 2 MB."""
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (690, 690, 3), dtype=np.uint8)
        (folder / f"{seed}.jpg").write_bytes(encode(Image.fromarray(noise), "JPEG", quality=98, subsampling=0))


def wait_for(stub: Stub, requests: int, process: subprocess.Popen[str]) -> int:
    """Memory of the generator once so many requests were answered."""
    while stub.seen.total() < requests:
        assert process.poll() is None
        threading.Event().wait(0.05)
    return int(psutil.Process(process.pid).memory_info().rss)


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(1500, marks=pytest.mark.slow),
        pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(280)]),
    ],
)
def test_lo05_memory_stays_flat_and_names_few_over_many_large_requests(tmp_path: Path, requests: int) -> None:
    folder, path = tmp_path / "photos", tmp_path / "result.json"
    folder.mkdir()
    large_photos(folder)
    options = ["--users", "2", "--run-time", "600", "--images", str(folder), "--mix", "base64=2,raw=1,url=0"]
    with running(Stub()) as stub:
        line = command(stub.url, *options, "--warm-up", "1", "--result", str(path))
        with subprocess.Popen(
            line, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as process:
            early = wait_for(stub, requests // 3, process)
            late = wait_for(stub, requests, process)
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate()
    result = Result.model_validate_json(path.read_text())
    assert late == pytest.approx(early, rel=0.1)
    assert result.failures == 0
    assert len(result.kinds) == 2
    assert max(stub.bodies) == pytest.approx(MEGABYTES * 1e6, rel=0.2)
    # The same bodies again and again: one for each photo, kind and softmax.
    assert len(stub.bodies) <= 9
    assert result.generator.cpu_share > 0
    assert "of its core" in text
