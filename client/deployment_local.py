"""Deployments as processes of this machine: `python -P -m service` in the background."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from client.deployment_ready import answers_ready, wait_until_ready
from client.deployment_store import Store
from client.deployment_target import Say, Status, Wanted, as_before
from client.errors import DeploymentFailed

STATE, NEXT, KEY, LOG = "state.json", "next.json", "key", "log"
"""The process that serves, and one that has yet to prove itself; each has a key file and a log with its port."""
END_SECONDS = 45.0
"""Longer than the service's drain and its longest request."""


MODULE = ("-m", "service", "--port")


class _Process(BaseModel):
    """A service that was started here. `started` and its command tell it from whoever has its number later."""

    model_config = ConfigDict(frozen=True, strict=True)

    pid: Annotated[int, Field(gt=1, le=2**22)]  # 0, 1 and what is below mean groups, everybody, or the first process
    started: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
    port: Annotated[int, Field(ge=1, le=65535)]

    @property
    def runs(self) -> bool:
        """Whether that process is still there, and this user's."""
        return (
            _started(self.pid) == self.started
            and _command(self.pid)[-4:] == [*MODULE, str(self.port)]
            and _owner(self.pid) == os.geteuid()
        )


class LocalTarget:
    """One process a deployment, on loopback."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._store = Store("local")

    def deploy(self, wanted: Wanted) -> None:
        """Start the new process beside the old one, which ends once the new one is ready."""
        if wanted.replicas != 1:
            raise DeploymentFailed("A local deployment is one process; replicas are for target='kubernetes'.")
        name, before = wanted.name, self._process(wanted.name)
        self._end(name, NEXT)  # what an earlier deploy left that was killed
        port = _free_port()
        process = self._start(wanted, port)
        state = _Process(pid=process.pid, started=_started(process.pid) or "0", port=port).model_dump_json()
        self._store.write(name, NEXT, state)
        try:
            wait_until_ready(_url(port), wanted.timeout_seconds, lambda: process.poll() is None)
        except (DeploymentFailed, KeyboardInterrupt) as error:
            process.terminate()
            process.wait()
            said = self._store.last_lines(name, _file(LOG, port), 3)
            self._give_up(name, port, before)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise DeploymentFailed(f"{error} Its last words: {' / '.join(said)}{as_before(before)}") from None
        process.returncode = 0  # it outlives this process, which Python would warn of
        self._end(name)
        self._store.write(name, KEY, wanted.key + "\n")
        self._store.write(name, STATE, state)
        self._store.keep(name, KEY, STATE, _file(KEY, port), _file(LOG, port))

    def _give_up(self, name: str, port: int, before: _Process | None) -> None:
        if before is None:
            self._store.forget(name)
        else:
            self._store.drop(name, NEXT, _file(KEY, port), _file(LOG, port))

    def _start(self, wanted: Wanted, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", *MODULE, str(port)]  # -P: nothing that lies in the current folder is run
        self._say(f"$ {' '.join(command)}")
        others = {name: value for name, value in os.environ.items() if not name.startswith("SALVER_")}
        settings = {
            "SALVER_MODEL": str(wanted.model.resolve()),
            "SALVER_API_KEYS_FILE": str(self._store.write(wanted.name, _file(KEY, port), wanted.key + "\n")),
            "SALVER_DEVICE": "cuda" if wanted.device == "gpu" else "cpu",
            "SALVER_DRAIN_SECONDS": "0",  # no load balancer stands in front
            "SALVER_LOG_FORMAT": "text",
        }
        with self._store.write(wanted.name, _file(LOG, port), "").open("ab") as log:
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
        return [status for name in self._store.names() if (status := self._found(name))]

    def _found(self, name: str) -> Status | None:
        """One that is damaged is named, and the others are listed all the same."""
        try:
            return self.find(name)
        except DeploymentFailed as error:
            return Status(name, "local", 0, 1, "", str(error))

    def delete(self, name: str) -> None:
        self._end(name, NEXT)
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

    def _process(self, name: str, file: str = STATE) -> _Process | None:
        """The running one; None when it ended, whoever has its number now. Raises DeploymentFailed when damaged."""
        text = self._store.read(name, file)
        if text is None:
            return None
        try:
            state = _Process.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = "".join(f" {part}:" for part in first["loc"])
            folder = self._store.folder(name)
            raise DeploymentFailed(
                f"{folder / file} is damaged ({place.strip()} {first['msg']}), so no process was ended. Look for the "
                f"service with  pgrep -af 'service --port'  , end it, and remove the folder {folder}."
            ) from None
        return state if state.runs else None

    def _end(self, name: str, file: str = STATE) -> None:
        process = self._process(name, file)
        if process is None:
            return
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(process.pid, signal.SIGTERM)
        for _ in range(int(END_SECONDS / 0.05)):
            if self._process(name, file) is None:
                return
            time.sleep(0.05)
        raise DeploymentFailed(f"The process {process.pid} of '{name}' did not end within {END_SECONDS:g} seconds.")


def _file(kind: str, port: int) -> str:
    return f"{kind}-{port}"


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


def _command(pid: int) -> list[str]:
    """Its words; none when it is over."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _owner(pid: int) -> int | None:
    """The user's number; None when it is over."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
