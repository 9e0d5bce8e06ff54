"""Stands for docker on PATH where there is no engine: a container is a process of the real service on this machine.

STAND_IN_FOLDER holds its state: `calls` (one JSON list a line), and for each container NAME.json and NAME.log.
"""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN_FOLDER"])
Container = dict[str, str | int]


def values(option: str, words: list[str]) -> list[str]:
    """Of an option that may be given several times, as `--option VALUE` or `--option=VALUE`."""
    joined = [word.partition("=")[2] for word in words if word.startswith(option + "=")]
    return joined + [after for word, after in itertools.pairwise(words) if word == option]


def environment(words: list[str]) -> Iterator[tuple[str, str, str]]:
    """What a container is given; a name alone means the value that Docker's caller has."""
    return (setting.partition("=") for setting in values("--env", words))


def file_of(container: str) -> Path:
    """By name or number."""
    for path in FOLDER.glob("*.json"):
        if container in (path.stem, json.loads(path.read_text())["number"]):
            return path
    sys.exit(f"Error: No such container: {container}")


def run(words: list[str]) -> None:
    (container_name,) = values("--name", words)
    if (FOLDER / f"{container_name}.json").exists():
        sys.exit(f'Conflict. The container name "/{container_name}" is already in use')
    mounted = {path: source for source, path, _ in (volume.split(":") for volume in values("--volume", words))}
    settings = {name: value if given else os.environ[name] for name, given, value in environment(words)}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert all(Path(source).is_dir() for source in mounted.values()), "a single file is never refreshed"
    for name in ("SALVER_API_KEYS_FILE", "SALVER_MODEL"):
        folder, _, file = settings[name].rpartition("/")
        settings[name] = f"{mounted[folder]}/{file}"
    command = [sys.executable, "-m", "service", "--port", str(port)]
    with (FOLDER / f"{container_name}.log").open("w") as log:
        inside = {name: value for name, value in os.environ.items() if not name.startswith("SALVER_")} | settings
        process = subprocess.Popen(command, env=inside, stdout=log, stderr=log, start_new_session=True)
    container = {"number": f"c{process.pid}", "pid": process.pid, "port": port, "labels": values("--label", words)}
    (FOLDER / f"{container_name}.json").write_text(json.dumps(container))
    print(container["number"])


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def ps(words: list[str]) -> None:
    filters = [wanted.split("=", 1) for wanted in values("--filter", words)]
    for path in sorted(FOLDER.glob("*.json")):
        container = json.loads(path.read_text())
        if all(
            re.search(wanted, f"/{path.stem}") if kind == "name" else wanted in container["labels"]
            for kind, wanted in filters
        ):
            instance = next(label for label in container["labels"] if "instance=" in label).partition("=")[2]
            print(container["number"] if "--quiet" in words else instance)


def main() -> None:
    with (FOLDER / "calls").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    verb, words = sys.argv[1], sys.argv[2:]
    if verb == "build":
        print("built")
        return
    if verb in ("run", "ps"):
        {"run": run, "ps": ps}[verb](words)
        return
    path = file_of({"port": words[0]}.get(verb, words[-1]) if verb != "rename" else words[0])
    container = json.loads(path.read_text())
    match verb:
        case "port":
            print(f"127.0.0.1:{container['port']}" if runs(container["pid"]) else "")
        case "inspect":
            print(str(runs(container["pid"])).lower(), 0)
        case "logs":
            print(path.with_suffix(".log").read_text())
        case "stop":
            if runs(container["pid"]):
                os.kill(container["pid"], signal.SIGTERM)
            while runs(container["pid"]):
                time.sleep(0.01)
        case "rm":
            path.unlink()
        case "rename":
            if (FOLDER / f"{words[1]}.json").exists():
                sys.exit(f'Conflict. The container name "/{words[1]}" is already in use')
            path.with_suffix(".log").rename(FOLDER / f"{words[1]}.log")
            path.rename(FOLDER / f"{words[1]}.json")
        case _:
            sys.exit(f"docker: '{verb}' is not a docker command")


if __name__ == "__main__":
    main()
