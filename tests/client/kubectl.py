"""Stands for kubectl on PATH where there is no cluster: it keeps what was applied and answers from that.

STAND_IN_FOLDER holds its state: `calls` (one JSON list a line), `applied` (one object a line, as it came) and one file
an object. `kustomize` is the real one's.
"""

import base64
import json
import os
import signal
import subprocess
import sys
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


def apply(text: str) -> None:
    for item in yaml.load_all(text, yaml.CSafeLoader):
        with (FOLDER / "applied").open("a") as applied:
            applied.write(json.dumps(item) + "\n")
        assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "salver-deploy"
        if item["kind"] == "Secret":
            item["data"] = {k: base64.b64encode(v.encode()).decode() for k, v in item.pop("stringData").items()}
        if item["kind"] == "Deployment":
            assert "replicas" not in item["spec"]
            item["spec"]["replicas"] = 1
        (FOLDER / f"{plural(item['kind'])}--{item['metadata']['name']}.json").write_text(json.dumps(item))


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
        assert rest[:2] == ["--server-side", "--field-manager=salver-deploy"]
        apply(sys.stdin.read())
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
