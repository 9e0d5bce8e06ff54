"""A load test of a model file on this machine: it starts the service itself."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from loadtest.errors import LoadTestError
from loadtest.web import get

START_SECONDS = 60.0
ASK_SECONDS = 0.05
LOG = "service.log"


@contextmanager
def local_service(model: Path, out: Path) -> Iterator[str]:
    """`salver serve` on a free loopback port until the block is left; yields its URL. Its log goes to `out`.

    Raises LoadTestError when it does not become ready.
    """
    out.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    settings = {"SALVER_URL_ALLOWLIST": "127.0.0.1", "SALVER_DRAIN_SECONDS": "0", "SALVER_LOG_FORMAT": "text"}
    # -P: nothing that lies in the current folder is run.
    command = [sys.executable, "-P", "-m", "salver", "serve", str(model), "--port", str(port)]
    log = out / LOG
    log.unlink(missing_ok=True)  # a pipe of that name would be waited for
    with log.open("w") as file, subprocess.Popen(command, env=os.environ | settings, stderr=file) as process:
        try:
            yield _ready(process, f"http://127.0.0.1:{port}", log)
        finally:
            process.terminate()
            process.wait()


def _ready(process: subprocess.Popen[bytes], url: str, log: Path) -> str:
    """The URL, once the service is ready."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            if get(f"{url}/readyz", timeout_seconds=1).ok:
                return url
        except requests.RequestException:
            pass
        time.sleep(ASK_SECONDS)
    raise LoadTestError(f"The service did not become ready; {log} ends with: {log.read_text().strip()[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
