"""Deployments on Kubernetes, through kubectl: k8s/base under the deployment's own name, by server-side apply.

The number of replicas is never in what is applied: an autoscaler owns it, or `kubectl scale` set it.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, Field

from salver.client.errors import DeploymentFailed
from salver.deployment.ready import check_version
from salver.deployment.target import BEGUN, INSTANCE, MANAGED, OURS, Command, Say, Status, Wanted

_PACKED = Path(__file__).resolve().with_name("base")
BASE = _PACKED if _PACKED.is_dir() else _PACKED.parents[2] / "k8s" / "base"
"""In an installation it lies beside this file, in a checkout at its root."""
KEY = "keys"
KEY_DIGEST = "salver/key-digest"
"""An annotation of the pods: another key makes new pods, which read it at once; a mounted Secret is refreshed late."""
DIGEST_WORK = 2**14
"""Makes it costly to guess a key by the digest, for those who may look at pods and not at Secrets."""
SETTLE_SECONDS, LOOK_SECONDS = 60.0, 0.5
"""As long as a pod of before may take to end: until then it can be the one that answers."""
CPU_TARGET = 70
GPU_RESOURCES = {  # those of k8s/components/gpu, where their reasons stand
    "requests": {"cpu": "4", "memory": "4Gi"},
    "limits": {"cpu": "4", "memory": "6Gi", "nvidia.com/gpu": "1"},
}


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

    def __init__(self, say: Say, namespace: str) -> None:
        self._kubectl = Command("kubectl", say)
        self._namespace = namespace

    def deploy(self, wanted: Wanted) -> None:
        name = wanted.name
        self._refuse_foreign(name)
        before = self._get("deployments", _instance(name))
        self._apply(f"{_secret(name, wanted.key)}\n---\n{self._render(wanted)}")
        if not self._get("hpa", _instance(name)):
            self._call("scale", f"deployment/{_object(name)}", f"--replicas={wanted.replicas}")
        way_back = self._way_back(wanted) if before else ""
        self._wait(name, wanted.timeout_seconds, way_back)
        self._check(wanted, way_back)

    def _way_back(self, wanted: Wanted) -> str:
        """The base's rollout keeps ready pods until new ones are; one on a GPU has to free it first."""
        serves = "was ended to free its GPU" if wanted.device == "gpu" else "serves on"
        undo = f"kubectl rollout undo --namespace {self._namespace} deployment/{_object(wanted.name)}"
        return f"What was deployed before {serves}; '{undo}' takes the change back."

    def _wait(self, name: str, timeout_seconds: float, way_back: str) -> None:
        wait = ("rollout", "status", f"deployment/{_object(name)}", f"--timeout={timeout_seconds:.0f}s")
        try:
            self._call(*wait, timeout_seconds=timeout_seconds + 30)
        except DeploymentFailed as error:
            said = f"{error} {' / '.join(self._words(name))} {way_back}"
            raise DeploymentFailed(said.strip()) from None

    def _check(self, wanted: Wanted, way_back: str) -> None:
        """Each time through another forwarding: one that leads to a pod of before ends with that."""
        end = time.monotonic() + min(wanted.timeout_seconds, SETTLE_SECONDS)
        while True:
            try:
                with self.reach(wanted.name) as url:
                    return check_version(url, wanted.key, wanted.version)
            except DeploymentFailed as error:
                if time.monotonic() >= end:
                    said = f"The pods are ready, but: {error} The image is {wanted.image}: see that it holds the model."
                    raise DeploymentFailed(f"{said} {way_back}".strip()) from None
            time.sleep(LOOK_SECONDS)

    def _words(self, name: str) -> Iterator[str]:
        """What the pods say themselves."""
        for pod in self._get("pods", _instance(name)):
            status = pod.status
            for container in status.init_containers + status.containers:
                for state in (container.state.waiting, container.state.terminated):
                    if state and (state.message or state.reason):
                        yield f"{pod.metadata.name}: {state.reason} {state.message}".strip()
            yield from (
                c.message for c in status.conditions if c.status == "False" and "unschedul" in c.message.lower()
            )
        try:
            yield self._call("logs", "--selector", _instance(name), "--all-containers", "--tail=3").strip()
        except DeploymentFailed:  # no container has begun
            return

    def _render(self, wanted: Wanted) -> str:
        """The base under the deployment's name."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(BASE, Path(folder) / "base")
            digest = _key_digest(wanted.key, f"{self._namespace}/{wanted.name}")
            (Path(folder) / "kustomization.yaml").write_text(json.dumps(_kustomization(wanted, digest)))
            return self._kubectl("kustomize", folder)

    def find(self, name: str) -> Status | None:
        found = self._get("deployments,secrets", _instance(name))
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
        return f"http://{_object(name)}.{self._namespace}.svc"

    def delete(self, name: str) -> None:
        kinds = "deployment,service,serviceaccount,hpa,pdb,networkpolicy,configmap,secret"
        self._call("delete", kinds, "--selector", _instance(name), "--ignore-not-found", timeout_seconds=180)

    def scale(self, name: str, replicas: int) -> None:
        self._call("delete", "hpa", "--selector", _instance(name), "--ignore-not-found")
        self._call("scale", f"deployment/{_object(name)}", f"--replicas={replicas}")

    def autoscale(self, name: str, least: int, most: int) -> None:
        self._apply(_autoscaler(name, least, most))

    def key(self, name: str) -> str | None:
        found = self._get("secrets", _instance(name))
        return base64.b64decode(found[0].data[KEY]).decode().strip() if found else None

    @contextmanager
    def reach(self, name: str) -> Iterator[str]:
        """Through a port of this machine, as long as the block lasts."""
        command = [
            self._kubectl.path,
            "port-forward",
            "--namespace",
            self._namespace,
            f"service/{_object(name)}",
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
        found = self._call("get", f"deployment/{_object(name)}", "--ignore-not-found", "--output=json")
        if found and _Item.model_validate_json(found).metadata.labels.get(MANAGED) != OURS[MANAGED]:
            raise DeploymentFailed(
                f"There is a Deployment {_object(name)} in {self._namespace} that was not made by 'salver deploy': "
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


def _object(name: str) -> str:
    return f"salver-{name}"


def _labels(name: str) -> dict[str, str]:
    return {**OURS, INSTANCE: name}


def _instance(name: str) -> str:
    return f"{MANAGED}={OURS[MANAGED]},{INSTANCE}={name}"


def _secret(name: str, key: str) -> str:
    """It goes to kubectl's standard input: a command line can be read by everyone on the machine."""
    metadata = {"name": f"{_object(name)}-keys", "labels": _labels(name)}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {KEY: key + "\n"}})


def _autoscaler(name: str, least: int, most: int) -> str:
    target = {"type": "Utilization", "averageUtilization": CPU_TARGET}
    return json.dumps(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": _object(name), "labels": _labels(name)},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": _object(name)},
                "minReplicas": least,
                "maxReplicas": most,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            },
        }
    )


def _key_digest(key: str, salt: str) -> str:
    return hashlib.scrypt(key.encode(), salt=salt.encode(), n=DIGEST_WORK, r=8, p=1, dklen=16).hex()


def _kustomization(wanted: Wanted, key_digest: str) -> dict[str, object]:
    pod = "/spec/template/spec"
    changes: list[dict[str, object]] = [
        {"op": "replace", "path": f"{pod}/volumes/1/secret/secretName", "value": f"{_object(wanted.name)}-keys"},
        {"op": "replace", "path": f"{pod}/containers/0/image", "value": wanted.image},
    ]
    if wanted.device == "gpu":
        toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        changes += [
            {"op": "replace", "path": f"{pod}/containers/0/resources", "value": GPU_RESOURCES},
            {"op": "add", "path": f"{pod}/tolerations", "value": [toleration]},
            {"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}},
        ]
    device = {"name": "salver-settings", "behavior": "merge", "literals": ["SALVER_DEVICE=cuda"]}
    annotated = {"template": {"metadata": {"annotations": {KEY_DIGEST: key_digest}}}}
    pods = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "salver"}, "spec": annotated}
    hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "salver"}}
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["base"],
        "nameSuffix": f"-{wanted.name}",
        "labels": [
            # In the selectors too, or those of k8s/overlays in the same namespace would take these pods for theirs.
            {
                "pairs": {MANAGED: OURS[MANAGED], INSTANCE: wanted.name},
                "includeSelectors": True,
                "includeTemplates": True,
            },
        ],
        "configMapGenerator": [device] if wanted.device == "gpu" else [],
        "patches": [
            {"target": {"kind": "Deployment"}, "patch": json.dumps(changes)},
            {"patch": json.dumps(pods)},
            {"patch": json.dumps({"$patch": "delete", **hpa})},
        ],
    }
