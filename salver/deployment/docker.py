"""Deployments as containers of this machine's Docker, without privileges and on loopback."""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from salver.client.errors import DeploymentFailed
from salver.deployment.ready import answers_ready, check_version, wait_until_ready
from salver.deployment.store import Store
from salver.deployment.target import (
    BEGUN,
    INSTANCE,
    MANAGED,
    OURS,
    SERVES_ON,
    Command,
    DeploymentSpec,
    Reporter,
    Status,
)

KEY, MODEL = "key", "model.onnx"
MARK = "begun"
"""A file that lies beside the key from before a container is started until it has proved itself or is gone."""
MOUNTED = "/run/salver"
"""Where a container finds its key and model: in a folder of its own, as a folder, never as single files. A file that is
bound by itself stays the one that was there at the start, and its neighbours are nobody's business in a container.
"""
NEXT, BEFORE = ".next", ".before"
"""What a container's name ends with while another one has the deployment's: no deployment's name has a dot."""
OURS_ALONE = ("--filter", f"label={MANAGED}={OURS[MANAGED]}")
IMAGE_USER = 65532
STOP_SECONDS = 45
CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108
LIMITS = ("--memory", "1g", "--cpus", "2")


class DockerTarget:
    """One container a deployment."""

    def __init__(self, say: Reporter) -> None:
        self._docker = Command("docker", say)
        self._look = Command("docker", lambda _: None)  # ten times a second: nobody wants to read that
        self._store = Store("docker")

    def deploy(self, spec: DeploymentSpec) -> None:
        """Start the new container beside the old one, which ends once the new one is ready."""
        if spec.replicas != 1:
            raise DeploymentFailed("A Docker deployment is one container; replicas are for target='kubernetes'.")
        name = spec.name
        self._finish_swap(_container_name(name))
        before = self._container(name)
        self._remove(set(self._containers(name)) - {before})  # what an earlier deploy left that was killed
        container, mount = _container_name(name) + (NEXT if before else ""), f"mount-{secrets.token_hex(4)}"
        self._store.write(name, MARK, mount)
        with ExitStack() as undo:
            undo.callback(self._give_up, name, before, mount)
            try:
                if not before:
                    self._store.write(name, KEY, spec.key + "\n")
                self._docker(*self._run(spec, container, self._fill(spec, mount)), whole=True)
                url = self._url(container)
                wait_until_ready(url, spec.timeout_seconds, lambda: self._runs(container))
                check_version(url, spec.key, spec.version)
                if before:
                    self._swap(_container_name(name))
            except DeploymentFailed as error:
                raise DeploymentFailed(f"{error}{self._last_words(container)}{SERVES_ON if before else ''}") from None
            undo.pop_all()
        self._store.write(name, KEY, spec.key + "\n")
        self._remove([before] if before else [])
        self._store.keep(name, KEY, mount)

    def _finish_swap(self, container: str) -> None:
        """Give the deployment's name back to the old container, where a deploy was killed that had just taken it."""
        if not self._number(container) and self._number(container + BEFORE):
            self._docker("rename", container + BEFORE, container)

    def _swap(self, container: str) -> None:
        """Give the deployment's name to the new container."""
        self._docker("rename", container, container + BEFORE)
        try:
            self._docker("rename", container + NEXT, container)
        except BaseException:
            self._docker("rename", container + BEFORE, container)
            raise

    def _give_up(self, name: str, before: str, mount: str) -> None:
        self._remove(set(self._containers(name)) - {before})
        if before:
            self._finish_swap(_container_name(name))
            self._store.drop(name, mount, MARK)
        else:
            self._store.forget(name)

    def _last_words(self, container: str) -> str:
        number = self._number(container)
        if not number:
            return ""
        said = self._docker("logs", "--tail", "3", number, stderr=True).strip().splitlines()
        return f" Its last words: {' / '.join(said)}"

    def _fill(self, spec: DeploymentSpec, mount: str) -> Path:
        """A folder for this container alone: Docker looks into it again when the container is started again."""
        folder = self._store.folder(spec.name) / mount
        try:
            folder.mkdir(mode=0o700, parents=True)
            shutil.copyfile(spec.model, folder / MODEL)
            key = self._store.write(spec.name, f"{mount}/{KEY}", spec.key + "\n")
            if os.geteuid() == 0:  # root in the container is nobody's wish: give all to the image's own user
                for path in (folder, folder / MODEL, key):
                    os.chown(path, IMAGE_USER, -1)
        except OSError as error:
            raise DeploymentFailed(f"The model cannot be copied to {folder}: {error.strerror}.") from error
        return folder

    def _run(self, spec: DeploymentSpec, container: str, folder: Path) -> list[str]:
        user = os.geteuid() or IMAGE_USER
        labels = [f"--label={name}={value}" for name, value in {**OURS, INSTANCE: spec.name}.items()]
        gpu = ["--gpus", "1"] if spec.device == "gpu" else []
        text = [] if "SALVER_LOG_FORMAT" in spec.settings else ["--env", "SALVER_LOG_FORMAT=text"]
        # By name alone: Docker takes the values out of the environment, where no list of processes shows them.
        handed_on = [word for name in spec.settings for word in ("--env", name)]
        return [
            *("run", "--detach", "--name", container, *labels, "--restart", "unless-stopped"),
            *("--user", f"{user}:0", *CONFINED, *LIMITS, *gpu, "--publish", "127.0.0.1::8000"),
            *("--volume", f"{folder}:{MOUNTED}:ro", "--env", f"SALVER_MODEL={MOUNTED}/{MODEL}"),
            *("--env", f"SALVER_API_KEYS_FILE={MOUNTED}/{KEY}", "--env", "SALVER_DRAIN_SECONDS=0"),
            *("--env", f"SALVER_DEVICE={'cuda' if spec.device == 'gpu' else 'cpu'}", *text, *handed_on),
            spec.image,
        ]

    def find(self, name: str) -> Status | None:
        fault = BEGUN if self._store.has(name, MARK) else ""
        if not self._container(name):
            return Status(name, "docker", 0, 1, "", BEGUN) if fault or self._containers(name) else None
        try:
            with self.reach(name) as url:
                return Status(name, "docker", int(answers_ready(url)), 1, url, fault)
        except DeploymentFailed:  # it does not run, and so has no port
            return Status(name, "docker", 0, 1, "", fault)

    def all(self) -> list[Status]:
        form = f'{{{{.Label "{INSTANCE}"}}}}'
        names = self._docker("ps", "--all", *OURS_ALONE, "--format", form).split()
        begun = (name for name in self._store.names() if self._store.has(name, MARK))
        return [status for name in sorted({*names, *begun}) if (status := self.find(name))]

    def delete(self, name: str) -> None:
        self._remove(self._containers(name))
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
        yield self._url(_container_name(name))

    def _url(self, container: str) -> str:
        address = self._docker("port", container, "8000/tcp").splitlines()
        if not address:
            raise DeploymentFailed(f"The container {container} does not run: docker logs {container}")
        return f"http://{address[0].strip()}"

    def _container(self, name: str) -> str:
        """Its number, when it is there and ours."""
        return self._number(_container_name(name))

    def _number(self, container: str) -> str:
        return self._docker("ps", "--all", "--quiet", *OURS_ALONE, "--filter", f"name=^/{container}$").strip()

    def _containers(self, name: str) -> list[str]:
        """The numbers of all that carry the deployment's name, one that has yet to prove itself among them."""
        return self._docker("ps", "--all", "--quiet", *OURS_ALONE, "--filter", f"label={INSTANCE}={name}").split()

    def _runs(self, container: str) -> bool:
        state = self._look("inspect", "--format", "{{.State.Running}} {{.RestartCount}}", container)
        return state.split() == ["true", "0"]

    def _remove(self, numbers: Iterable[str]) -> None:
        for number in numbers:
            self._docker("stop", "--time", str(STOP_SECONDS), number, timeout_seconds=STOP_SECONDS + 15)
            self._docker("rm", number)


def _container_name(name: str) -> str:
    return f"salver-{name}"
