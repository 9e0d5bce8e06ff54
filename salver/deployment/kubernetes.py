"""Deployments on Kubernetes, through kubectl and its server-side apply."""

import base64
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, Field

from salver.client.errors import DeploymentFailed
from salver.deployment.manifests import (
    KEY,
    autoscaler,
    instance_selector,
    object_name,
    secret,
    write_kustomization,
)
from salver.deployment.ready import check_version
from salver.deployment.target import BEGUN, INSTANCE, MANAGED, OURS, Command, DeploymentSpec, Reporter, Status

SETTLE_SECONDS, LOOK_SECONDS = 60.0, 0.5
"""As long as a pod of before may take to end: until then it can be the one that answers."""


class _Metadata(BaseModel):
    name: str = ""
    labels: dict[str, str] = {}


class _Spec(BaseModel):
    replicas: int = 1


class _State(BaseModel):
    message: str = ""
    reason: str = ""


class _States(BaseModel):
    waiting: _State | None = None
    terminated: _State | None = None


class _Container(BaseModel):
    state: _States = _States()


class _Condition(BaseModel):
    status: str = ""
    message: str = ""


class _Ready(BaseModel):
    ready: int = Field(default=0, alias="readyReplicas")
    conditions: list[_Condition] = []
    containers: list[_Container] = Field(default=[], alias="containerStatuses")
    init_containers: list[_Container] = Field(default=[], alias="initContainerStatuses")


class _Item(BaseModel):
    kind: str = ""
    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()
    status: _Ready = _Ready()
    data: dict[str, str] = {}


class _List(BaseModel):
    items: list[_Item] = []


class KubernetesTarget:
    """A Deployment, a Service and what belongs to them, in one namespace of kubectl's current context."""

    def __init__(self, say: Reporter, namespace: str) -> None:
        self._kubectl = Command("kubectl", say)
        self._namespace = namespace

    def deploy(self, spec: DeploymentSpec) -> None:
        name = spec.name
        self._refuse_foreign(name)
        before = self._get("deployments", instance_selector(name))
        with tempfile.TemporaryDirectory() as folder:
            write_kustomization(Path(folder), spec, self._namespace)
            objects = self._kubectl("kustomize", folder)
        self._apply(f"{secret(name, spec.key)}\n---\n{objects}")
        if not self._get("hpa", instance_selector(name)):
            self._call("scale", f"deployment/{object_name(name)}", f"--replicas={spec.replicas}")
        way_back = self._way_back(spec) if before else ""
        self._wait(name, spec.timeout_seconds, way_back)
        self._check(spec, way_back)

    def _way_back(self, spec: DeploymentSpec) -> str:
        """The base's rollout keeps ready pods until new ones are; one on a GPU has to free it first."""
        serves = "was ended to free its GPU" if spec.device == "gpu" else "serves on"
        undo = f"kubectl rollout undo --namespace {self._namespace} deployment/{object_name(spec.name)}"
        return f"What was deployed before {serves}; '{undo}' takes the change back."

    def _wait(self, name: str, timeout_seconds: float, way_back: str) -> None:
        wait = ("rollout", "status", f"deployment/{object_name(name)}", f"--timeout={timeout_seconds:.0f}s")
        try:
            self._call(*wait, timeout_seconds=timeout_seconds + 30)
        except DeploymentFailed as error:
            said = f"{error} {' / '.join(self._words(name))} {way_back}"
            raise DeploymentFailed(said.strip()) from None

    def _check(self, spec: DeploymentSpec, way_back: str) -> None:
        """Each time through another forwarding: one that leads to a pod of before ends with that."""
        end = time.monotonic() + min(spec.timeout_seconds, SETTLE_SECONDS)
        while True:
            try:
                with self.reach(spec.name) as url:
                    return check_version(url, spec.key, spec.version)
            except DeploymentFailed as error:
                if time.monotonic() >= end:
                    said = f"The pods are ready, but: {error} The image is {spec.image}: see that it holds the model."
                    raise DeploymentFailed(f"{said} {way_back}".strip()) from None
            time.sleep(LOOK_SECONDS)

    def _words(self, name: str) -> Iterator[str]:
        """What the pods say themselves."""
        for pod in self._get("pods", instance_selector(name)):
            status = pod.status
            for container in status.init_containers + status.containers:
                for state in (container.state.waiting, container.state.terminated):
                    if state and (state.message or state.reason):
                        yield f"{pod.metadata.name}: {state.reason} {state.message}".strip()
            yield from (
                c.message for c in status.conditions if c.status == "False" and "unschedul" in c.message.lower()
            )
        try:
            yield self._call("logs", "--selector", instance_selector(name), "--all-containers", "--tail=3").strip()
        except DeploymentFailed:  # no container has begun
            return

    def find(self, name: str) -> Status | None:
        found = self._get("deployments,secrets", instance_selector(name))
        return self._status(name, found) if found else None

    def all(self) -> list[Status]:
        found = self._get("deployments,secrets", f"{MANAGED}={OURS[MANAGED]}")
        names = sorted({item.metadata.labels[INSTANCE] for item in found})
        return [self._status(name, [i for i in found if i.metadata.labels[INSTANCE] == name]) for name in names]

    def _status(self, name: str, found: list[_Item]) -> Status:
        """The Secret is the first that is made: alone it is what a deploy left that was ended there."""
        for item in found:
            if item.kind == "Deployment":
                return Status(name, "kubernetes", item.status.ready, item.spec.replicas, self._url(name))
        return Status(name, "kubernetes", 0, 1, "", BEGUN)

    def _url(self, name: str) -> str:
        return f"http://{object_name(name)}.{self._namespace}.svc"

    def delete(self, name: str) -> None:
        kinds = "deployment,service,serviceaccount,hpa,pdb,networkpolicy,configmap,secret"
        self._call("delete", kinds, "--selector", instance_selector(name), "--ignore-not-found", timeout_seconds=180)

    def scale(self, name: str, replicas: int) -> None:
        self._call("delete", "hpa", "--selector", instance_selector(name), "--ignore-not-found")
        self._call("scale", f"deployment/{object_name(name)}", f"--replicas={replicas}")

    def autoscale(self, name: str, least: int, most: int) -> None:
        self._apply(autoscaler(name, least, most))

    def key(self, name: str) -> str | None:
        found = self._get("secrets", instance_selector(name))
        return base64.b64decode(found[0].data[KEY]).decode().strip() if found else None

    @contextmanager
    def reach(self, name: str) -> Iterator[str]:
        """Through a port of this machine, as long as the block lasts."""
        command = [
            self._kubectl.path,
            "port-forward",
            "--namespace",
            self._namespace,
            f"service/{object_name(name)}",
            ":80",
        ]
        self._kubectl.say(f"$ {' '.join(command)}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as forward:
            assert forward.stdout
            assert forward.stderr
            line = forward.stdout.readline()  # Forwarding from 127.0.0.1:40001 -> 8000
            try:
                if not line:
                    raise DeploymentFailed(f"'kubectl port-forward' failed: {forward.stderr.read().strip()}")
                yield f"http://{line.split()[2]}"
            finally:
                forward.terminate()

    def _refuse_foreign(self, name: str) -> None:
        found = self._call("get", f"deployment/{object_name(name)}", "--ignore-not-found", "--output=json")
        if found and _Item.model_validate_json(found).metadata.labels.get(MANAGED) != OURS[MANAGED]:
            raise DeploymentFailed(
                f"There is a Deployment {object_name(name)} in {self._namespace} that was not made by 'salver deploy': "
                "choose another name."
            )

    def _get(self, kinds: str, selector: str) -> list[_Item]:
        return _List.model_validate_json(self._call("get", kinds, "--selector", selector, "--output=json")).items

    def _apply(self, manifest: str) -> None:
        """Fields that another hand has set since, such as `kubectl rollout undo`, are ours again."""
        how = ("--server-side", "--force-conflicts", "--field-manager=salver-deploy")
        self._call("apply", *how, "--filename=-", stdin=manifest)

    def _call(self, verb: str, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        place = (verb, "--namespace", self._namespace)
        return self._kubectl(*place, *arguments, stdin=stdin, timeout_seconds=timeout_seconds)
