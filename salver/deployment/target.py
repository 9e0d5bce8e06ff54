"""What a target of deployments can do, and what is said about a deployment."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from salver.client.errors import DeploymentFailed

Device = Literal["cpu", "gpu"]
TargetName = Literal["local", "docker", "kubernetes"]
Reporter = Callable[[str], None]

MANAGED = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"
OURS = {"app.kubernetes.io/name": "salver", MANAGED: "salver-deploy"}
"""The labels of everything that is made here; nothing without them is touched."""

NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


class DamagedState(DeploymentFailed):
    """What this machine remembers of a deployment cannot be read; deleting it mends that."""


@dataclass(frozen=True)
class DeploymentSpec:
    """What is to be deployed; `timeout_seconds` bounds the wait until it is ready.

    `version` is the model file's sha256, and `settings` are the caller's own for the service, by variable.
    """

    name: str
    model: Path
    version: str
    device: Device
    replicas: int
    key: str
    image: str
    timeout_seconds: float
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Status:
    """One deployment: how many replicas are ready of those wanted; `fault` says what is wrong with it as a whole."""

    name: str
    target: str
    ready: int
    replicas: int
    url: str
    fault: str = ""


class Target(Protocol):
    """A place where services run; `name` is always that of a deployment. All may raise DeploymentFailed."""

    def deploy(self, spec: DeploymentSpec) -> None:
        """Start or change it, and wait until it is ready."""

    def find(self, name: str) -> Status | None:
        """None when there is none of ours."""

    def all(self) -> list[Status]:
        """Every deployment of ours, by name; those that are damaged or were begun only with their `fault`."""

    def delete(self, name: str) -> None:
        """End it and remove what `deploy` made."""

    def scale(self, name: str, replicas: int) -> None:
        """Fix the number of replicas."""

    def autoscale(self, name: str, least: int, most: int) -> None:
        """Let the load decide between two numbers."""

    def key(self, name: str) -> str | None:
        """Out of the target's secret store."""

    def key_command(self, name: str) -> str:
        """What a person types to see the key, which itself is never shown."""

    def reach(self, name: str) -> AbstractContextManager[str]:
        """A URL at which this machine reaches it."""


MAX_REPLICAS = 10_000
LOGGED = re.compile(r"[EFIW][0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}")
"""How a line of Kubernetes' log begins."""
MAX_TIMEOUT_SECONDS = 86_400
WHOLE_SECONDS = 20.0
BEGUN = "a 'salver deploy' of it has not come to its end: if none runs now, deploy it again, or delete it"
"""The fault of a deployment that was begun, beside one that serves or alone."""
SERVES_ON = " What was deployed before is as it was."
"""For the end of an error's text, where something was."""


def cat(path: Path) -> str:
    """The command that shows a file."""
    return f"cat {shlex.quote(str(path))}"


def always_one(name: str, place: str, thing: str) -> DeploymentFailed:
    """Why what runs there cannot be scaled."""
    return DeploymentFailed(f"'{name}' runs {place}, where there is always one {thing}: replicas are for Kubernetes.")


def check_name(name: str) -> str:
    """The name. Raises DeploymentFailed when it cannot stand in a host name."""
    if not NAME.fullmatch(name):
        raise DeploymentFailed(
            f"'{name}' cannot name a deployment: take small letters, digits and hyphens, a letter first, at most 40."
        )
    return name


def check_number(what: str, number: float, low: int, high: int) -> None:
    """Raises DeploymentFailed when it does not lie between them, for NaN too."""
    if not low <= number <= high:
        raise DeploymentFailed(f"The {what} is {number}: give a number from {low:,} to {high:,}.")


def _without_log(complaint: str) -> str:
    """What kubectl says without what it logs meanwhile for its developers; all of it where it says no more."""
    said = [line for line in complaint.strip().splitlines() if not LOGGED.match(line)]
    return "\n".join(said) or complaint.strip()


@dataclass(frozen=True)
class Command:
    """A program that is driven as a person would drive it; `say` hears each call under --verbose."""

    program: str
    say: Reporter

    def __call__(
        self,
        *arguments: str,
        stdin: str | None = None,
        timeout_seconds: float = 60,
        stderr: bool = False,
        whole: bool = False,
    ) -> str:
        """Its standard output, with `stderr` its standard error too. Raises DeploymentFailed with its own words.

        A call that has to be `whole` is finished when this process is interrupted meanwhile: what it starts is only
        then to be found.
        """
        self.say(f"$ {self.program} {' '.join(arguments)}")
        words = [self.path, *arguments]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=whole
        ) as process:
            try:
                said, complaint = process.communicate(stdin, timeout_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise DeploymentFailed(
                    f"'{self.program} {arguments[0]}' did not end within {timeout_seconds:g} seconds."
                ) from None
            except BaseException:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(WHOLE_SECONDS if whole else 0)
                process.kill()
                raise
        if process.returncode != 0:
            raise DeploymentFailed(f"'{self.program} {arguments[0]}' failed: {_without_log(complaint)}")
        return said + complaint if stderr else said

    @property
    def path(self) -> str:
        """Where the program lies. Raises DeploymentFailed when it is not installed."""
        found = shutil.which(self.program)
        if found is None:
            raise DeploymentFailed(f"'{self.program}' is not installed: install it, or put it on the PATH.")
        return found
