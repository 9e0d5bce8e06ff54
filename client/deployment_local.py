"""Deployments as processes of this machine: `python -m service` in the background."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from client.deployment_ready import answers_ready, wait_until_ready
from client.deployment_store import Store
from client.deployment_target import Say, Status, Wanted
from client.errors import DeploymentFailed

STATE, KEY, LOG = "state.json", "key", "log"
END_SECONDS = 45.0
"""Longer than the service's drain and its longest request."""


class _Process(BaseModel):
    """`started` tells this process from a later one with the same number."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str
    port: int


class LocalTarget:
    """One process a deployment, on loopback."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._store = Store("local")

    def deploy(self, wanted: Wanted) -> None:
        if wanted.replicas != 1:
            raise DeploymentFailed("A local deployment is one process; replicas are for target='kubernetes'.")
        if self._process(wanted.name):
            self._end(wanted.name)
        key = self._store.write(wanted.name, KEY, wanted.key + "\n")
        port = _free_port()
        process = self._start(wanted, key, port)
        state = _Process(pid=process.pid, started=_started(process.pid), port=port)
        self._store.write(wanted.name, STATE, state.model_dump_json())
        try:
            wait_until_ready(_url(port), wanted.timeout_seconds, lambda: process.poll() is None)
        except DeploymentFailed as error:
            process.terminate()
            said = (self._store.read(wanted.name, LOG) or "").splitlines()
            process.wait()
            self._store.forget(wanted.name)
            raise DeploymentFailed(f"{error} Its last words: {' / '.join(said[-3:])}") from None
        process.returncode = 0  # it outlives this process, which Python would warn of

    def _start(self, wanted: Wanted, key: Path, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "service", "--port", str(port)]
        self._say(f"$ {' '.join(command)}")
        others = {name: value for name, value in os.environ.items() if not name.startswith("SALVER_")}
        settings = {
            "SALVER_MODEL": str(wanted.model.resolve()),
            "SALVER_API_KEYS_FILE": str(key),
            "SALVER_DEVICE": "cuda" if wanted.device == "gpu" else "cpu",
            "SALVER_DRAIN_SECONDS": "0",  # no load balancer stands in front
            "SALVER_LOG_FORMAT": "text",
        }
        with self._store.write(wanted.name, LOG, "").open("ab") as log:
            return subprocess.Popen(
                command, env=others | settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def find(self, name: str) -> Status | None:
        process = self._process(name)
        if process is None:
            return None
        url = _url(process.port)
        return Status(name, "local", int(answers_ready(url)), 1, url)

    def all(self) -> list[Status]:
        return [status for name in self._store.names() if (status := self.find(name))]

    def delete(self, name: str) -> None:
        self._end(name)
        self._store.forget(name)

    def scale(self, name: str, replicas: int) -> None:
        if replicas != 1:
            raise DeploymentFailed(f"'{name}' is one local process; replicas are for target='kubernetes'.")

    def autoscale(self, name: str, least: int, most: int) -> None:
        raise DeploymentFailed(f"'{name}' is one local process; autoscaling {least} to {most} needs Kubernetes.")

    def key(self, name: str) -> str | None:
        return self._store.read(name, KEY)

    @contextmanager
    def reach(self, name: str) -> Iterator[str]:
        process = self._process(name)
        if process is None:
            raise DeploymentFailed(f"There is no local deployment '{name}'.")
        yield _url(process.port)

    def _process(self, name: str) -> _Process | None:
        """The running one; None when it ended, whoever has its number now."""
        text = self._store.read(name, STATE)
        state = None if text is None else _Process.model_validate_json(text)
        return state if state and _started(state.pid) == state.started else None

    def _end(self, name: str) -> None:
        process = self._process(name)
        if process is None:
            return
        os.kill(process.pid, signal.SIGTERM)
        for _ in range(int(END_SECONDS / 0.05)):
            if self._process(name) is None:
                return
            time.sleep(0.05)
        raise DeploymentFailed(f"The process {process.pid} of '{name}' did not end within {END_SECONDS:g} seconds.")


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _started(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty when it is over."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
