"""The wheel as others install it: each extra alone in an empty environment, beside files named like our rooms."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT
from tests.support.images import photo
from tests.support.models import probe

FOREIGN = ("service.py", "training.py", "loadtest.py", "salver.py")
SCORING = (
    "import sys; from salver import Deployment, Score, ScoreError, ScoringClient, SalverError; "
    "print(sorted({'numpy', 'torch', 'PIL'} & {*sys.modules}))"
)
COMMANDS = {
    "client": [
        (0, ["list"], ""),
        (2, ["score", "photos/cup/0.jpg", "--url", "http://127.0.0.1:9"], "http://127.0.0.1:9"),
        (1, ["check", "photos"], "pip install -e '.[data]'"),
        (1, ["deploy", "one", "model.onnx"], "pip install -e '.[serve]'"),
    ],
    "data": [
        (0, ["check", "photos"], "no problems"),
        (0, ["split", "photos"], "written to photos/split.csv"),
        (0, ["build", "spec.json", "--out", "built"], "12 images added"),
        (1, ["train", "photos", "--out", "run"], "pip install -e '.[train]'"),
    ],
    "annotate": [(1, ["annotate", "nothing", "--no-browser"], "nothing")],
    "serve": [(1, ["serve", "nothing.onnx", "--port", "0"], "The model nothing.onnx cannot be read")],
    "loadtest": [
        (1, ["loadtest", "local", "nothing.onnx", "--out", "load"], "nothing.onnx"),
        (1, ["loadtest", "local", "model.onnx", "--out", "load"], "pip install -e '.[serve]'"),
    ],
    "train": [
        (0, ["train", "photos", "--weights", "none", "--image-size", "64", "--epochs", "1", "--out", "run"], "next:"),
        (0, ["evaluate", "run/model.onnx", "photos", "--out", "report"], "report.html"),
        (0, ["search", "photos/cup/0.jpg", "photos", "--model", "run/model.onnx"], "a copy of it"),
    ],
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (found,) = place.glob("*.whl")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos, a model, and modules of somebody else's that would say so if they were run."""
    for name in FOREIGN:
        (tmp_path / name).write_text("raise SystemExit(f'{__file__} was run')\n")
    for seed in range(24):
        place = tmp_path / "photos" / ("cup", "bowl")[seed % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{seed}.jpg").write_bytes(photo(240, 230, seed))
    (tmp_path / "spec.json").write_text('{"cup": ["photos/cup"]}')
    probe(tmp_path / "model.onnx")
    return tmp_path


def environment(wheel: Path, extra: str, place: Path) -> Path:
    """The folder of programs of an environment with the wheel and one extra, in the versions of our lock."""
    lock = re.findall(r"^(\S+==[^\\]+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    place.mkdir()
    (place / "versions.txt").write_text("\n".join(lock))
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    pip = [str(place / "venv" / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(place / "versions.txt"), f"salver[{extra}] @ {wheel.as_uri()}"], check=True)
    return place / "venv" / "bin"


def test_the_wheel_has_four_names_the_types_and_the_manifests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        *("salver", "training", "service", "loadtest")
    }
    assert {"salver/py.typed", "salver/deployment/base/deployment.yaml"} <= set(names)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "extra",
    [
        "client",
        *(pytest.param(extra, marks=pytest.mark.soak) for extra in ("data", "annotate", "serve", "loadtest")),
        pytest.param("train", marks=[pytest.mark.soak, pytest.mark.torch]),
    ],
)
def test_each_extra_alone_has_what_its_commands_need(wheel: Path, folder: Path, extra: str) -> None:
    programs = environment(wheel, extra, folder / "installed")
    variables = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder / "home"), "COLUMNS": "300"}
    variables |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False
        )

    shown = run("salver", "--help")
    assert (shown.returncode, "loadtest" in shown.stdout) == (0, True), shown.stderr
    if extra == "client":
        scoring = run("python", "-P", "-c", SCORING)
        assert (scoring.stdout, scoring.stderr) == ("[]\n", "")
        assert run("python", "-P", "-c", "import numpy").returncode == 1
    for code, words, text in COMMANDS[extra]:
        ended = run("salver", *words)
        said = ended.stdout + ended.stderr
        assert (ended.returncode, text in said, "was run" in said) == (code, True, False), said
        assert "Traceback" not in said
