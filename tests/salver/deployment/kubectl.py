"""Stands for kubectl on PATH where there is no cluster: it keeps what was applied and answers from that.

STAND_IN_FOLDER holds its state: `calls` (one JSON list a line), `applied` (one object a line, as it came), one file an
object, and in `managers` who has set which of its fields: as on a cluster, one that applies another value to a field of
somebody else's is refused, unless it forces that. `kustomize` is the real one's.
"""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(os.environ["STAND_IN_FOLDER"])
KINDS = {"hpa": "HorizontalPodAutoscaler", "pdb": "PodDisruptionBudget"}


def plural(kind: str) -> str:
    return next((short for short, long in KINDS.items() if long == kind), kind.lower())


def objects(kinds: str, selector: str) -> list[Path]:
    wanted = dict(pair.split("=") for pair in selector.split(","))
    kept = [
        path for path in FOLDER.glob("*.json") if path.name.split("--")[0] in [k.rstrip("s") for k in kinds.split(",")]
    ]
    return [path for path in kept if wanted.items() <= json.loads(path.read_text())["metadata"]["labels"].items()]


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves, by their path; items of a list by their name, where they have one."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from fields(inner, f"{path}.{key}")
    elif isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        for item in value:
            yield from fields(item, f"{path}[name={json.dumps(item['name'])}]")
    else:
        yield path, value


def own(path: Path, item: Any, manager: str, force: bool) -> None:
    """Note whose the fields are. Ends as kubectl does when some of them are another manager's, with another value."""
    noted = FOLDER / "managers" / path.name
    before: dict[str, list[Any]] = json.loads(noted.read_text()) if noted.exists() and path.exists() else {}
    mine = dict(fields(item))
    conflicts = [
        (field, owner)
        for field, (owner, value) in before.items()
        if owner != manager and mine.get(field, value) != value
    ]
    if conflicts and not force:
        words = [f'conflict with "{owner}": {field}' for field, owner in conflicts]
        sys.exit(f"error: Apply failed with {len(conflicts)} conflict: {'; '.join(words)}")
    kept = {field: owned for field, owned in before.items() if owned[0] != manager and field not in mine}
    noted.parent.mkdir(exist_ok=True)
    noted.write_text(json.dumps(kept | {field: [manager, value] for field, value in mine.items()}))


def undo(path: Path) -> None:
    """`rollout undo`: the template of before, set by a manager of its own."""
    item: Any = json.loads(path.read_text())
    item["spec"]["template"] = json.loads((FOLDER / "managers" / f"{path.name}.before").read_text())
    own(path, {"spec": {"template": item["spec"]["template"]}}, "kubectl-rollout", force=True)
    path.write_text(json.dumps(item))


def apply(text: str, force: bool) -> None:
    for item in yaml.load_all(text, yaml.CSafeLoader):
        with (FOLDER / "applied").open("a") as applied:
            applied.write(json.dumps(item) + "\n")
        assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "salver-deploy"
        if item["kind"] == "Secret":
            item["data"] = {k: base64.b64encode(v.encode()).decode() for k, v in item.pop("stringData").items()}
        path = FOLDER / f"{plural(item['kind'])}--{item['metadata']['name']}.json"
        own(path, item, "salver-deploy", force)
        if item["kind"] == "Deployment":
            assert "replicas" not in item["spec"]
            old: Any = json.loads(path.read_text()) if path.exists() else {"spec": {"replicas": 1}}
            item["spec"]["replicas"] = old["spec"]["replicas"]
            (FOLDER / "managers" / f"{path.name}.before").write_text(json.dumps(old["spec"].get("template")))
        path.write_text(json.dumps(item))


def option(name: str, default: str = "") -> str:
    for index, word in enumerate(sys.argv):
        if word == name:
            return sys.argv[index + 1]
        if word.startswith(name + "="):
            return word.partition("=")[2]
    return default


def main() -> int:
    with (FOLDER / "calls").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    verb, rest = sys.argv[1], sys.argv[4:]
    if verb == "kustomize":
        return subprocess.run([os.environ["REAL_KUBECTL"], *sys.argv[1:]], check=False).returncode
    assert sys.argv[2:4] == ["--namespace", "team"], sys.argv
    failing = (FOLDER / "pods-fail").exists()
    if verb == "apply":
        assert {"--server-side", "--field-manager=salver-deploy"} <= set(rest)
        apply(sys.stdin.read(), "--force-conflicts" in rest)
    elif verb == "scale":
        path = FOLDER / f"deployment--{rest[0].partition('/')[2]}.json"
        item: Any = json.loads(path.read_text())
        item["spec"]["replicas"] = int(option("--replicas"))
        item["status"] = {"readyReplicas": item["spec"]["replicas"]}
        path.write_text(json.dumps(item))
    elif verb == "get" and rest[0].startswith("deployment/"):
        path = FOLDER / f"deployment--{rest[0].partition('/')[2]}.json"
        sys.stdout.write(path.read_text() if path.exists() else "")
    elif verb == "get" and rest[0] == "pods":
        state = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
        pod = {"metadata": {"name": "salver-tw-1"}, "status": {"containerStatuses": [{"state": state}]}}
        print(json.dumps({"items": [pod]}))
    elif verb == "get":
        print(json.dumps({"items": [json.loads(path.read_text()) for path in objects(rest[0], option("--selector"))]}))
    elif verb == "delete":
        for path in objects(rest[0], option("--selector")):
            path.unlink()
    elif verb == "rollout" and rest[0] == "undo":
        undo(FOLDER / f"deployment--{rest[1].partition('/')[2]}.json")
    elif verb == "rollout" and failing:
        print("error: timed out waiting for the condition", file=sys.stderr)
        return 1
    elif verb == "logs" and failing:
        print("error: container is waiting to start", file=sys.stderr)
        return 1
    elif verb == "port-forward":
        print(f"Forwarding from {os.environ['STAND_IN_SERVICE']} -> 8000", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
