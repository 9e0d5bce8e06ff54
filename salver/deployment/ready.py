"""A service as a process on a free port, waiting until one says that it is ready, and asking which model it serves."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
from pydantic import BaseModel, ValidationError

from salver.client.errors import DeploymentFailed
from salver.client.web import Connections, reason
from salver.rooms import missing

LOOK_SECONDS = 0.1
MAX_CARD_BYTES = 64 * 1024**2
"""Of a model's card; one with 50,000 labels is less."""


class _Card(BaseModel):
    version: str


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def url_of(port: int) -> str:
    """Of a service that listens on loopback."""
    return f"http://127.0.0.1:{port}"


def serve_command(port: int) -> list[str]:
    """The service on that port of loopback. -P: nothing that lies in the current folder is run."""
    return [sys.executable, "-P", "-m", "service", "--port", str(port)]


def check_service_installed() -> None:
    """Raises DeploymentFailed where the packages of the service are missing, which its process would only say later."""
    for package in ("fastapi", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise DeploymentFailed(missing("A service on this machine", package, "serve"))


@contextmanager
def process_of(
    command: Sequence[str], environment: Mapping[str, str], stderr: IO[str] | int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process that is asked to end when the block is left, and waited for."""
    with subprocess.Popen(command, env=environment, text=True, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def running_service(
    model: Path, settings: Mapping[str, str], *, timeout_seconds: float, stderr: IO[str] | None = None
) -> Iterator[str]:
    """A model file on a free port of loopback until the block is left; yields its URL once it is ready.

    `settings` are variables beside this process' own. Raises DeploymentFailed when it does not become ready.
    """
    check_service_installed()
    port = free_port()
    environment = os.environ | {"SALVER_DRAIN_SECONDS": "0", **settings, "SALVER_MODEL": str(model)}
    with process_of(serve_command(port), environment, stderr) as process:
        wait_until_ready(url_of(port), timeout_seconds, lambda: process.poll() is None)
        yield url_of(port)


def answers_ready(url: str) -> bool:
    """Whether /readyz says yes now."""
    try:
        with (
            Connections(url, timeout_seconds=5).http as http,
            http.stream("GET", f"{url}/readyz") as answer,  # the head says it; nobody reads the rest
        ):
            return answer.is_success
    except httpx.TransportError:
        return False


def wait_until_ready(url: str, timeout_seconds: float, alive: Callable[[], bool]) -> None:
    """Return when it is ready. Raises DeploymentFailed when it ended or the time is over."""
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        if answers_ready(url):
            return
        if not alive():
            raise DeploymentFailed("The service ended before it was ready.")
        time.sleep(LOOK_SECONDS)
    raise DeploymentFailed(f"The service was not ready within {timeout_seconds:g} seconds.")


def check_version(url: str, key: str, version: str) -> None:
    """Return when the service takes the key and the model with that sha256 answers.

    Raises DeploymentFailed with what answers instead.
    """
    found = _answering(url, key)
    if found != version:
        raise DeploymentFailed(f"Another model answers: its version is {found}, and the file's is {version}.")


def _answering(url: str, key: str) -> str:
    try:
        with (
            Connections(url, timeout_seconds=5, headers={b"Authorization": b"Bearer " + key.encode()}).http as http,
            http.stream("GET", f"{url}/model") as answer,
        ):
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                raise DeploymentFailed("The service that answers does not take the deployment's key.")
            card = bytearray()
            for piece in answer.iter_raw():
                card += piece
                if len(card) > MAX_CARD_BYTES:
                    break
            return _Card.model_validate_json(card).version
    except httpx.TransportError as error:
        raise DeploymentFailed(f"The service could not be asked which model it serves ({reason(error)}).") from None
    except ValidationError:
        raise DeploymentFailed("What answers does not say which model it serves: is it a Salver service?") from None
