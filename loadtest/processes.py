"""The processes that a load test starts: Locust, which changes sockets and threads of its own, and a service."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from loadtest.errors import LoadTestError
from loadtest.results.result import Result
from salver.client.errors import DeploymentFailed
from salver.deployment.ready import running_service

LOCUSTFILE = Path(__file__).absolute().parent / "locustfile.py"
OWN_VARIABLES = ("LOCUST_", "LOADTEST_")
STDERR_SHOWN = 2000
START_SECONDS = 60.0
LOG, LOG_SHOWN = "service.log", 500
SERVICE_SETTINGS = {"SALVER_URL_ALLOWLIST": "127.0.0.1", "SALVER_LOG_FORMAT": "text"}


def run_locust(options: Mapping[str, object], *, quiet: bool = False) -> tuple[Result, int]:
    """A headless run with these options (`p99_ms` is `--p99-ms`; None is left out), and Locust's exit code.

    Raises LoadTestError with Locust's words when there is no result. Ctrl-C and SIGTERM end the run, with its result
    written, before they are raised here; a second one ends it at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
        command += ["--loglevel", "ERROR" if quiet else "WARNING", "--result", str(path)]
        for name, value in options.items():
            if value is not None:
                text = str(value.absolute() if isinstance(value, Path) else value)
                command += [f"--{name.replace('_', '-')}", text]
        code, words = _finished(command, Path(folder), quiet=quiet)
        if not path.exists():
            raise LoadTestError(f"Locust ended with {code} and without a result. {words.strip()[-STDERR_SHOWN:]}")
        return Result.model_validate_json(path.read_text()), code


def _finished(command: list[str], folder: Path, *, quiet: bool) -> tuple[int, str]:
    """In a folder of its own: Locust imports from the current one, and takes settings from its locust.conf."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    environment |= {"PYTHONSAFEPATH": "1"}
    output = subprocess.PIPE if quiet else None
    came: list[int] = []
    started: list[subprocess.Popen[str]] = []

    def end(number: int, _: FrameType | None) -> None:
        came.append(number)
        for process in started:
            process.terminate()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # Locust reads keys from a terminal; the one that waits for it is the person's. In a process group of its own
        # it hears the terminal's Ctrl-C once, through here.
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            process_group=0,
        ) as process:
            started.append(process)
            if came:
                process.terminate()
            _, words = process.communicate()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
    return process.returncode, words or ""


@contextmanager
def local_service(model: Path, out: Path) -> Iterator[str]:
    """The model's service on this machine until the block is left; yields its URL. Its log goes to `out`.

    Raises LoadTestError when it does not become ready.
    """
    out.mkdir(parents=True, exist_ok=True)
    log = out / LOG
    log.unlink(missing_ok=True)  # a pipe of that name would be waited for
    with log.open("w") as file:
        try:
            with running_service(model, SERVICE_SETTINGS, timeout_seconds=START_SECONDS, stderr=file) as url:
                yield url
        except DeploymentFailed as error:
            said = log.read_text().strip()[-LOG_SHOWN:]
            words = f"The service did not become ready; {log} ends with: {said}" if said else str(error)
            raise LoadTestError(words) from None
