"""Deployments as containers of this machine's Docker, without privileges and on loopback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from client.deployment_ready import answers_ready, wait_until_ready
from client.deployment_store import Store
from client.deployment_target import INSTANCE, MANAGED, OURS, Command, Say, Status, Wanted
from client.errors import DeploymentFailed

KEY = "key"
IMAGE_USER = 65532
STOP_SECONDS = 45
CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108
LIMITS = ("--memory", "1g", "--cpus", "2")


class DockerTarget:
    """One container a deployment."""

    def __init__(self, say: Say) -> None:
        self._docker = Command("docker", say)
        self._look = Command("docker", lambda _: None)  # ten times a second: nobody wants to read that
        self._store = Store("docker")

    def deploy(self, wanted: Wanted) -> None:
        if wanted.replicas != 1:
            raise DeploymentFailed("A Docker deployment is one container; replicas are for target='kubernetes'.")
        self._remove(wanted.name)
        try:
            self._docker(*self._run(wanted))
            with self.reach(wanted.name) as url:
                wait_until_ready(url, wanted.timeout_seconds, lambda: self._runs(wanted.name))
        except DeploymentFailed as error:
            said = self._last_words(wanted.name)
            self.delete(wanted.name)
            raise DeploymentFailed(f"{error}{said}") from None

    def _last_words(self, name: str) -> str:
        number = self._container(name)
        if not number:
            return ""
        said = self._docker("logs", "--tail", "3", number, stderr=True).strip().splitlines()
        return f" Its last words: {' / '.join(said)}"

    def _run(self, wanted: Wanted) -> list[str]:
        key = self._store.write(wanted.name, KEY, wanted.key + "\n")
        user = os.geteuid()
        if user == 0:  # root in the container is nobody's wish: give the file to the image's own user
            os.chown(key, IMAGE_USER, -1)
            user = IMAGE_USER
        labels = [f"--label={name}={value}" for name, value in {**OURS, INSTANCE: wanted.name}.items()]
        gpu = ["--gpus", "1"] if wanted.device == "gpu" else []
        return [
            *("run", "--detach", "--name", _container_name(wanted.name), *labels, "--restart", "unless-stopped"),
            *("--user", f"{user}:0", *CONFINED, *LIMITS, *gpu, "--publish", "127.0.0.1::8000"),
            *("--volume", f"{wanted.model.resolve()}:/model/model.onnx:ro", "--volume", f"{key}:/run/salver-key:ro"),
            *("--env", "SALVER_API_KEYS_FILE=/run/salver-key", "--env", "SALVER_DRAIN_SECONDS=0"),
            *(
                "--env",
                f"SALVER_DEVICE={'cuda' if wanted.device == 'gpu' else 'cpu'}",
                "--env",
                "SALVER_LOG_FORMAT=text",
            ),
            wanted.image,
        ]

    def find(self, name: str) -> Status | None:
        if not self._container(name):
            return None
        try:
            with self.reach(name) as url:
                return Status(name, "docker", int(answers_ready(url)), 1, url)
        except DeploymentFailed:  # it does not run, and so has no port
            return Status(name, "docker", 0, 1, "")

    def all(self) -> list[Status]:
        form = f'{{{{.Label "{INSTANCE}"}}}}'
        names = self._docker("ps", "--all", "--filter", f"label={MANAGED}={OURS[MANAGED]}", "--format", form)
        return [status for name in sorted(names.split()) if (status := self.find(name))]

    def delete(self, name: str) -> None:
        self._remove(name)
        self._store.forget(name)

    def scale(self, name: str, replicas: int) -> None:
        if replicas != 1:
            raise DeploymentFailed(f"'{name}' is one container; replicas are for target='kubernetes'.")

    def autoscale(self, name: str, least: int, most: int) -> None:
        raise DeploymentFailed(f"'{name}' is one container; autoscaling {least} to {most} needs Kubernetes.")

    def key(self, name: str) -> str | None:
        return self._store.read(name, KEY)

    @contextmanager
    def reach(self, name: str) -> Iterator[str]:
        address = self._docker("port", _container_name(name), "8000/tcp").splitlines()
        if not address:
            raise DeploymentFailed(f"The container of '{name}' does not run: docker logs {_container_name(name)}")
        yield f"http://{address[0].strip()}"

    def _container(self, name: str) -> str:
        """Its number, when it is there and ours."""
        labels = ("--filter", f"label={MANAGED}={OURS[MANAGED]}", "--filter", f"label={INSTANCE}={name}")
        return self._docker("ps", "--all", "--quiet", *labels).strip()

    def _runs(self, name: str) -> bool:
        state = self._look("inspect", "--format", "{{.State.Running}} {{.RestartCount}}", _container_name(name))
        return state.split() == ["true", "0"]

    def _remove(self, name: str) -> None:
        number = self._container(name)
        if not number:
            return
        self._docker("stop", "--time", str(STOP_SECONDS), number, timeout_seconds=STOP_SECONDS + 15)
        self._docker("rm", number)


def _container_name(name: str) -> str:
    return f"salver-{name}"
