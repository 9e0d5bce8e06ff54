"""Deployments as processes of this machine: `python -P -m service` in the background."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from salver.client.errors import DeploymentFailed
from salver.deployment.ready import (
    answers_ready,
    check_service_installed,
    check_version,
    free_port,
    serve_command,
    url_of,
    wait_until_ready,
)
from salver.deployment.settings import without_ours
from salver.deployment.store import Store
from salver.deployment.target import BEGUN, SERVES_ON, DamagedState, DeploymentSpec, Reporter, Status, always_one, cat

STATE, NEXT, BEFORE = "state.json", "next.json", "before.json"
"""The process that serves, one that has yet to prove itself, and one that ends because another one serves now."""
KEYS_FILE = "SALVER_API_KEYS_FILE"
KEY, LOG = "key", "log"
"""Each process has a key file and a log with its port."""
END_SECONDS = 45.0
"""Longer than the service's drain and its longest request."""
LOOKS, LOOK_SECONDS = 20, 0.005
GATE = 'read -r go && exec "$@" </dev/null'
"""For a shell that becomes the service when a line comes, and ends when its caller died before that."""


class _Process(BaseModel):
    """A service that was started here. `started` and its command tell it from whoever has its number later."""

    model_config = ConfigDict(frozen=True, strict=True)

    pid: Annotated[int, Field(gt=1, le=2**22)]  # 0, 1 and what is below mean groups, everybody, or the first process
    started: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
    port: Annotated[int, Field(ge=1, le=65535)]

    @property
    def found(self) -> psutil.Process | None:
        """That process, while it is there and this user's."""
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(self.pid)
            if (
                process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
                and _started(process) == self.started
                and process.uids().effective == os.geteuid()
                and _command(process)[-4:] == serve_command(self.port)[-4:]
            ):
                return process
        return None


class LocalTarget:
    """One process a deployment, on loopback."""

    def __init__(self, say: Reporter) -> None:
        self._say = say
        self._store = Store("local")
        self._children: set[int] = set()

    def deploy(self, spec: DeploymentSpec) -> None:
        """Start the new process beside the old one, which ends once the new one is ready."""
        if spec.replicas != 1:
            raise DeploymentFailed("A local deployment is one process; replicas are for target='kubernetes'.")
        check_service_installed()
        name, before, port = spec.name, self._process(spec.name), free_port()
        self._clear(name, before)
        with ExitStack() as undo:
            undo.callback(self._give_up, name, port)
            try:
                self._start(spec, port)
                wait_until_ready(url_of(port), spec.timeout_seconds, lambda: self._process(name, NEXT) is not None)
                check_version(url_of(port), spec.key, spec.version)
            except DeploymentFailed as error:
                said = " / ".join(self._store.last_lines(name, _file(LOG, port), 3))
                raise DeploymentFailed(f"{error} Its last words: {said}{SERVES_ON if before else ''}") from None
            if before is not None:
                self._store.write(name, BEFORE, before.model_dump_json())
            self._store.rename(name, NEXT, STATE)
            undo.pop_all()
        self._end(name, BEFORE)
        self._store.keep(name, STATE, _file(KEY, port), _file(LOG, port))

    def _clear(self, name: str, serving: _Process | None) -> None:
        """End what an earlier deploy left that was killed, and never what serves."""
        self._end(name, NEXT)
        if self._process(name, BEFORE) != serving:
            self._end(name, BEFORE)
        self._store.drop(name, NEXT, BEFORE)

    def _give_up(self, name: str, port: int) -> None:
        serves = self._recorded(name, STATE)
        if serves is not None and serves.port == port:  # it was given up a moment too late
            return
        self._end(name, NEXT)
        if serves is not None:
            self._store.drop(name, NEXT, BEFORE, _file(KEY, port), _file(LOG, port))
        else:
            self._store.forget(name)

    def _start(self, spec: DeploymentSpec, port: int) -> None:
        """Start the service once it is recorded in NEXT, where it is found whatever becomes of this process."""
        command = serve_command(port)
        self._say(f"$ {' '.join(command)}")
        settings = {
            "SALVER_LOG_FORMAT": "text",
            **spec.settings,
            "SALVER_MODEL": str(spec.model.resolve()),
            KEYS_FILE: str(self._store.write(spec.name, _file(KEY, port), spec.key + "\n")),
            "SALVER_DEVICE": "cuda" if spec.device == "gpu" else "cpu",
            "SALVER_DRAIN_SECONDS": "0",  # no load balancer stands in front
        }
        with self._store.write(spec.name, _file(LOG, port), "").open("ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", GATE, "salver", *command],
                env=without_ours(os.environ) | settings,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process.returncode = 0  # it outlives this process, which Python would warn of
        self._children.add(process.pid)
        assert process.stdin is not None
        with process.stdin as gate:
            state = _Process(pid=process.pid, started=_started(psutil.Process(process.pid)), port=port)
            self._store.write(spec.name, NEXT, state.model_dump_json())
            gate.write(b"\n")

    def find(self, name: str) -> Status | None:
        process = self._process(name)
        begun = self._store.has(name, NEXT) or self._store.has(name, BEFORE)
        if process is None and not begun:
            if not self._store.has(name):
                return None
            if ended := self._recorded(name, STATE):
                return Status(name, "local", 0, 1, "", f"its process has ended; {self._log_of(name, ended)}")
        shown = process or self._process(name, NEXT)
        url = "" if shown is None else url_of(shown.port)
        fault = "" if process is not None and not begun else BEGUN
        return Status(name, "local", int(url != "" and answers_ready(url)), 1, url, fault)

    def _log_of(self, name: str, process: _Process) -> str:
        log = self._store.folder(name) / _file(LOG, process.port)
        return f"its log is {log}: deploy it again, or delete it"

    def all(self) -> list[Status]:
        return [status for name in self._store.names() if (status := self._found(name))]

    def _found(self, name: str) -> Status | None:
        """One that is damaged is named, and the others are listed all the same."""
        try:
            return self.find(name)
        except DeploymentFailed as error:
            return Status(name, "local", 0, 1, "", str(error))

    def delete(self, name: str) -> None:
        for file in (NEXT, BEFORE, STATE):
            with suppress(DamagedState):  # what it would have named has its key in the folder
                self._end(name, file)
        for process in _with_a_key_in(self._store.folder(name)):
            self._stop(name, process)
        self._store.forget(name)

    def scale(self, name: str, replicas: int) -> None:
        if replicas != 1:
            raise always_one(name, "locally", "process")

    def autoscale(self, name: str, least: int, most: int) -> None:  # noqa: ARG002
        raise always_one(name, "locally", "process")

    def key(self, name: str) -> str | None:
        state = self._recorded(name, STATE) or self._recorded(name, NEXT)
        return None if state is None else self._store.read(name, _file(KEY, state.port))

    def key_command(self, name: str) -> str:
        state = self._recorded(name, STATE)
        return "" if state is None else cat(self._store.folder(name) / _file(KEY, state.port))

    @contextmanager
    def reach(self, name: str) -> Iterator[str]:
        process = self._process(name)
        if process is None and (ended := self._recorded(name, STATE)):
            raise DeploymentFailed(f"The process of '{name}' has ended; {self._log_of(name, ended)}.")
        if process is None:
            raise DeploymentFailed(f"There is no local deployment '{name}'.")
        yield url_of(process.port)

    def _process(self, name: str, file: str = STATE) -> _Process | None:
        """The running one; None when it ended, whoever has its number now. Raises DeploymentFailed when damaged."""
        state = self._recorded(name, file)
        return state if state is not None and state.found else None

    def _recorded(self, name: str, file: str) -> _Process | None:
        advice = f"'salver delete {name}' ends its service and clears it away"
        try:
            text = self._store.read(name, file)
            return None if text is None else _Process.model_validate_json(text)
        except DeploymentFailed as error:
            raise DamagedState(f"{error} If it stays so, {advice}.") from error
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            fault = ": ".join([*map(str, first["loc"]), first["msg"]])
            raise DamagedState(f"{self._store.folder(name) / file} is damaged ({fault}): {advice}.") from None

    def _end(self, name: str, file: str) -> None:
        process = self._recorded(name, file)
        if process is None:
            return
        if found := process.found:
            self._stop(name, found)
        if process.pid in self._children:
            with suppress(ChildProcessError):  # a program that wants no exit codes
                os.waitpid(process.pid, os.WNOHANG)

    def _stop(self, name: str, process: psutil.Process) -> None:
        with suppress(psutil.NoSuchProcess):  # it has just ended
            process.terminate()
        for _ in range(int(END_SECONDS / 0.05)):
            with suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    time.sleep(0.05)
                    continue
            return
        raise DeploymentFailed(f"The process {process.pid} of '{name}' did not end within {END_SECONDS:g} seconds.")


def _with_a_key_in(folder: Path) -> Iterator[psutil.Process]:
    """This user's services whose key file lies there: those that were started for that deployment."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().effective == os.geteuid():
                key = process.environ().get(KEYS_FILE, "")
                if key and Path(key).parent == folder and "service" in _command(process):
                    yield process


def _file(kind: str, port: int) -> str:
    return f"{kind}-{port}"


def _started(process: psutil.Process) -> str:
    """When it began, in clock ticks since this machine did: no change of the clock changes that."""
    return str(round((process.create_time() - psutil.boot_time()) * os.sysconf("SC_CLK_TCK")))


def _command(process: psutil.Process) -> list[str]:
    """Its words. For a moment of its beginning the kernel has none of a process that is there."""
    for _ in range(LOOKS):
        words: list[str] = process.cmdline()
        if words:
            return words
        time.sleep(LOOK_SECONDS)
    return []
