"""A scoring service that runs somewhere: the 2018 package's deployment, for a process, Docker and Kubernetes alike."""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import get_args

from salver.client.errors import ClientError, DeploymentFailed
from salver.client.image import Source
from salver.client.result import Score, ScoreError
from salver.client.scoring import ScoringClient
from salver.deployment.docker import DockerTarget
from salver.deployment.kubernetes import KubernetesTarget
from salver.deployment.local import LocalTarget
from salver.deployment.settings import handed_on, left_out
from salver.deployment.store import Store
from salver.deployment.target import (
    MAX_REPLICAS,
    MAX_TIMEOUT_SECONDS,
    Command,
    DamagedState,
    DeploymentSpec,
    Device,
    Reporter,
    Status,
    Target,
    TargetName,
    check_name,
    check_number,
)

KEY_BYTES = 32
ADD_SOFTMAX = "add_softmax"
BUILD_SECONDS = 600


def target_named(target: TargetName, namespace: str, say: Reporter) -> Target:
    """Raises DeploymentFailed for another name."""
    if target == "local":
        return LocalTarget(say)
    if target == "docker":
        return DockerTarget(say)
    if target == "kubernetes":
        return KubernetesTarget(say, namespace)
    raise DeploymentFailed(f"There is no target '{target}': choose one of {', '.join(get_args(TargetName))}.")


def quiet(_: str) -> None:
    """Says nothing."""


class Deployment:
    """A service by its name; nothing happens before a method is called."""

    def __init__(
        self,
        name: str,
        model: str | os.PathLike[str] | None = None,
        target: TargetName = "local",
        *,
        replicas: int = 1,
        device: Device = "cpu",
        namespace: str = "default",
        service_key: str | None = None,
        image: str | None = None,
        timeout_seconds: float = 300.0,
        say: Reporter = quiet,
    ) -> None:
        """`model` is needed to deploy only. `image` is the container's; on Kubernetes it holds the model (see
        `build_docker_image`) and lies where the nodes find it. `say` hears progress and each command that is run.

        Raises DeploymentFailed for a name, target, number of replicas or time that cannot be.
        """
        self.name = check_name(name)
        check_number("number of replicas", replicas, 1, MAX_REPLICAS)
        check_number("time to wait in seconds", timeout_seconds, 1, MAX_TIMEOUT_SECONDS)
        self._model = None if model is None else Path(model)
        self._replicas, self._device = replicas, device
        self._key, self._timeout_seconds, self._say = service_key, timeout_seconds, say
        self._kind = target
        self._image = image
        self._target = target_named(target, namespace, say)

    def deploy(self) -> str:
        """Start it, or change it, and wait until it is ready and the file's model answers; returns its URL.

        The key is the one given, or the one that it had, or a new one; it is kept by the target and never shown. The
        caller's SALVER_ settings are handed on to a service of this machine; what is not handed on is said.
        Raises DeploymentFailed with the service's own words, and when another command deploys or deletes it just now.
        """
        with self._alone():
            model, version = self._checked_model(), self._version()
            for sentence in left_out(os.environ, self._kind):
                self._say(sentence)
            key = self._key or self._target.key(self.name) or secrets.token_urlsafe(KEY_BYTES)
            self._say(f"deploying '{self.name}' to {self._kind}; waiting until it is ready …")
            self._target.deploy(
                DeploymentSpec(
                    name=self.name,
                    model=model,
                    version=version,
                    device=self._device,
                    replicas=self._replicas,
                    key=key,
                    image=self._image or self._default_image(),
                    timeout_seconds=self._timeout_seconds,
                    settings=handed_on(os.environ, self._kind),
                )
            )
        url = self.endpoint_url
        self._say(f"'{self.name}' is ready; score with it{self._way_in()}:")
        self._say(f'  SALVER_KEY="$({self._target.key_command(self.name)})" salver score IMAGE --url {url}')
        return url

    def _way_in(self) -> str:
        return " from inside the cluster" if self._kind == "kubernetes" else ""

    def build_docker_image(self) -> str:
        """Build an image of the service with the model in it, on top of `salver-serve`; returns its name.

        Unless it is given, the name ends in the model's sha256: under one name there is always one model.
        """
        tag = self._version() + ("-gpu" if self._device == "gpu" else "")
        image = self._image or f"salver-model-{self.name}:{tag}"
        base = f"salver-serve:{self._device}"
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.onnx").write_bytes(self._checked_model().read_bytes())
            (Path(folder) / "model.onnx").chmod(0o444)  # for any user in the container
            (Path(folder) / "Dockerfile").write_text(f"FROM {base}\nCOPY model.onnx /model/model.onnx\n")
            Command("docker", self._say)("build", "--tag", image, folder, timeout_seconds=BUILD_SECONDS)
        return image

    def is_existing_service(self) -> bool:
        """Whether there is a deployment of ours with this name."""
        return self._target.find(self.name) is not None

    def status(self) -> Status:
        """Raises DeploymentFailed when there is none."""
        found = self._target.find(self.name)
        if found is None:
            others = (kind for kind in get_args(TargetName) if kind not in (self._kind, "kubernetes"))
            elsewhere = next((kind for kind in others if Store(kind).has(self.name)), "")
            there = f"; there is one on {elsewhere}" if elsewhere else ""
            raise DeploymentFailed(f"There is no deployment '{self.name}' on {self._kind}{there}.")
        return found

    def scale(self, replicas: int) -> None:
        """Fix the number of replicas; an autoscaler is taken away."""
        check_number("number of replicas", replicas, 0, MAX_REPLICAS)
        self.status()
        self._target.scale(self.name, replicas)

    def autoscale(self, min: int, max: int) -> None:
        """Let the CPU's load decide between two numbers of replicas."""
        if not 1 <= min <= max <= MAX_REPLICAS:
            raise DeploymentFailed(
                f"Autoscaling from {min} to {max} cannot be: give 1 <= min <= max <= {MAX_REPLICAS:,}."
            )
        self.status()
        self._target.autoscale(self.name, min, max)

    def delete(self) -> None:
        """End it and remove all that deploying made. Raises DeploymentFailed when there is none."""
        with self._alone():
            with suppress(DamagedState):  # what is left of it is what is to be removed
                self.status()
            self._target.delete(self.name)

    @property
    def endpoint_url(self) -> str:
        """On Kubernetes the URL inside the cluster; the scoring methods reach it from outside, too."""
        return self.status().url

    @property
    def service_key(self) -> str | None:
        """Out of the target's secret store; None when there is no such deployment."""
        return self._target.key(self.name)

    def score_image(
        self,
        image: Source,
        image_resize_dims: tuple[int, int] | None = None,
        parameters: Mapping[str, bool] | None = None,
    ) -> Score | ScoreError:
        """The result of one path, URL or image; `parameters` may hold {ADD_SOFTMAX: True}."""
        (result,) = self.score_images([image], image_resize_dims, parameters)
        return result

    def score_images(
        self,
        images: Iterable[Source],
        image_resize_dims: tuple[int, int] | None = None,
        parameters: Mapping[str, bool] | None = None,
    ) -> list[Score | ScoreError]:
        """The results in order; see `ScoringClient.score`."""
        softmax = bool((parameters or {}).get(ADD_SOFTMAX))
        with self._target.reach(self.name) as url, ScoringClient(url, self.service_key) as client:
            return client.score(images, softmax, resize=image_resize_dims)

    @staticmethod
    def list_deployment(
        target: TargetName = "local", namespace: str = "default", say: Reporter = quiet
    ) -> list[Status]:
        """Every deployment of ours on a target."""
        return target_named(target, namespace, say).all()

    @staticmethod
    def delete_if_service_exist(name: str, target: TargetName = "local", namespace: str = "default") -> bool:
        """Whether there was one."""
        deployment = Deployment(name, target=target, namespace=namespace)
        if not deployment.is_existing_service():
            return False
        deployment.delete()
        return True

    @staticmethod
    def score_existing_service_with_image(
        image: Source,
        endpoint_url: str,
        service_key: str | None = None,
        image_resize_dims: tuple[int, int] | None = None,
    ) -> Score | ScoreError:
        """The result of one image by a service that is reached at a URL."""
        with ScoringClient(endpoint_url, service_key) as client:
            (result,) = client.score([image], resize=image_resize_dims)
        return result

    def _alone(self) -> AbstractContextManager[None]:
        """One command at a time; a cluster has its own order of changes, and needs no place to write here."""
        return nullcontext() if self._kind == "kubernetes" else Store(self._kind).alone(self.name)

    def _default_image(self) -> str:
        return self.build_docker_image() if self._kind == "kubernetes" else f"salver-serve:{self._device}"

    def _version(self) -> str:
        """The model file's sha256, which its service calls its version."""
        with self._checked_model().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _checked_model(self) -> Path:
        if self._model is None:
            raise DeploymentFailed("Name the model file that is to be served: Deployment(name, model='model.onnx').")
        if not self._model.is_file():
            raise DeploymentFailed(f"There is no model file {self._model}.")
        return self._model


__all__ = ["ADD_SOFTMAX", "ClientError", "Deployment", "DeploymentFailed", "Status", "TargetName"]
