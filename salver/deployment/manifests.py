"""The objects that are given to kubectl: k8s/base under the deployment's own name, its Secret, its autoscaler.

The number of replicas is never in what is applied: an autoscaler owns it, or `kubectl scale` set it.
"""

import hashlib
import json
import shutil
from pathlib import Path

from salver.deployment.target import INSTANCE, MANAGED, OURS, DeploymentSpec

_PACKED = Path(__file__).resolve().with_name("base")
BASE = _PACKED if _PACKED.is_dir() else _PACKED.parents[2] / "k8s" / "base"
"""In an installation it lies beside this file, in a checkout at its root."""
KEY = "keys"
KEY_DIGEST = "salver/key-digest"
"""An annotation of the pods: another key makes new pods, which read it at once; a mounted Secret is refreshed late."""
DIGEST_WORK = 2**14
"""Makes it costly to guess a key by the digest, for those who may look at pods and not at Secrets."""
CPU_TARGET = 70
GPU_RESOURCES = {  # those of k8s/components/gpu, where their reasons stand
    "requests": {"cpu": "4", "memory": "4Gi"},
    "limits": {"cpu": "4", "memory": "6Gi", "nvidia.com/gpu": "1"},
}


def object_name(name: str) -> str:
    """What a deployment's objects are called."""
    return f"salver-{name}"


def _labels(name: str) -> dict[str, str]:
    return {**OURS, INSTANCE: name}


def instance_selector(name: str) -> str:
    """What finds all objects of a deployment, and no others."""
    return f"{MANAGED}={OURS[MANAGED]},{INSTANCE}={name}"


def secret(name: str, key: str) -> str:
    """The Secret with the key, for kubectl's standard input: everyone on the machine can read a command line."""
    metadata = {"name": f"{object_name(name)}-keys", "labels": _labels(name)}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {KEY: key + "\n"}})


def autoscaler(name: str, least: int, most: int) -> str:
    """The HorizontalPodAutoscaler, by the CPU's load."""
    target = {"type": "Utilization", "averageUtilization": CPU_TARGET}
    return json.dumps(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": object_name(name), "labels": _labels(name)},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": object_name(name)},
                "minReplicas": least,
                "maxReplicas": most,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            },
        }
    )


def _key_digest(key: str, salt: str) -> str:
    return hashlib.scrypt(key.encode(), salt=salt.encode(), n=DIGEST_WORK, r=8, p=1, dklen=16).hex()


def write_kustomization(folder: Path, spec: DeploymentSpec, namespace: str) -> None:
    """A folder for `kubectl kustomize`: the base under the deployment's name."""
    shutil.copytree(BASE, folder / "base")
    digest = _key_digest(spec.key, f"{namespace}/{spec.name}")
    (folder / "kustomization.yaml").write_text(json.dumps(_kustomization(spec, digest)))


def _kustomization(spec: DeploymentSpec, key_digest: str) -> dict[str, object]:
    pod = "/spec/template/spec"
    changes: list[dict[str, object]] = [
        {"op": "replace", "path": f"{pod}/volumes/1/secret/secretName", "value": f"{object_name(spec.name)}-keys"},
        {"op": "replace", "path": f"{pod}/containers/0/image", "value": spec.image},
    ]
    if spec.device == "gpu":
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
        "nameSuffix": f"-{spec.name}",
        "labels": [
            # In the selectors too, or those of k8s/overlays in the same namespace would take these pods for theirs.
            {
                "pairs": {MANAGED: OURS[MANAGED], INSTANCE: spec.name},
                "includeSelectors": True,
                "includeTemplates": True,
            },
        ],
        "configMapGenerator": [device] if spec.device == "gpu" else [],
        "patches": [
            {"target": {"kind": "Deployment"}, "patch": json.dumps(changes)},
            {"patch": json.dumps(pods)},
            {"patch": json.dumps({"$patch": "delete", **hpa})},
        ],
    }
