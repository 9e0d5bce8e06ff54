"""The names for other people's code: a closed list, loaded when used, and told apart from somebody else's files."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import salver

ROOT = Path(__file__).parents[2]
NAMES = (
    *("Classifier", "Dataset", "Deployment", "SalverError", "Score", "ScoreError", "ScoringClient"),
    *("annotate", "augment", "contact_sheet", "evaluate", "evaluate_by_folds", "label_errors"),
    *("results_viewer", "search"),
)
ROOMS = ("salver", "training", "service", "loadtest", "artifact", "client", "tools", "tests", "k8s")


def in_python(script: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def pages() -> list[Path]:
    """All pages for people but those that say how Salver itself is built."""
    written = [ROOT / "README.md", ROOT / "loadtest" / "README.md", *(ROOT / "docs").glob("*.md")]
    return [*written, *(ROOT / "docs").glob("*.ipynb")]


def code(page: Path) -> str:
    """The Python of a page, and all of its other text."""
    text = page.read_text()
    if page.suffix == ".ipynb":
        return "".join(line for cell in json.loads(text)["cells"] for line in [*cell["source"], "\n"])
    return text


def imported(page: Path) -> set[tuple[str, str]]:
    """What a page imports from the rooms, as (module, name)."""
    found = re.findall(rf"^\s*from ((?:{'|'.join(ROOMS)})[\w.]*) import (.+)$", code(page), re.MULTILINE)
    modules = re.findall(rf"^\s*import ((?:{'|'.join(ROOMS)})\.[\w.]*)", code(page), re.MULTILINE)
    return {(module, name.strip()) for module, names in found for name in names.split(",")} | {(m, "") for m in modules}


@pytest.mark.torch
@pytest.mark.slow
def test_the_list_is_this_one_and_each_name_is_what_type_checkers_see() -> None:
    assert tuple(salver.__all__) == NAMES
    typed = ast.parse(inspect.getsource(salver))
    (checked,) = [node for node in typed.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert tuple(sorted(seen)) == NAMES
    for name in NAMES:
        assert getattr(salver, name).__module__ == seen[name]
    assert set(NAMES) <= set(dir(salver))


def test_another_name_is_none_of_ours() -> None:
    with pytest.raises(AttributeError, match="module 'salver' has no attribute 'Trainer'"):
        _ = salver.Trainer  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_pages_import_ours_from_nowhere_else(page: Path) -> None:
    assert imported(page) <= {("salver", name) for name in NAMES}


def test_whoever_scores_loads_neither_numpy_nor_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from salver import Deployment, Score, ScoreError, ScoringClient, SalverError\n"
        "print(sorted({'numpy', 'torch', 'PIL', 'onnxruntime', 'fastapi', 'training', 'service'} & {*sys.modules}))"
    )
    ended = in_python(script, tmp_path)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


@pytest.mark.parametrize("place", ["training.py", "training/__init__.py", "training/data.txt"])
def test_a_room_that_is_somebody_elses_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("raise SystemExit('theirs was run')\n")
    ended = in_python("from salver import Dataset; print(Dataset.__module__)", tmp_path)
    if place.endswith(".txt"):  # a folder of data is no package: ours is found behind it
        assert ended.stdout == "training.dataset.dataset\n", ended.stderr
        return
    assert ended.stderr.count(str(tmp_path / place)) == 1
    assert "salver.Dataset needs Salver's own 'training'" in ended.stderr
    ended = in_python("import sys; sys.argv = ['salver', 'train']; from salver.cli import main; main()", tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert f"'salver train' needs Salver's own 'training', which lies in {ROOT}" in ended.stderr


def test_a_missing_package_is_named_with_the_extra_that_has_it(tmp_path: Path) -> None:
    (tmp_path / "scipy.py").write_text("raise ModuleNotFoundError(\"No module named 'scipy'\", name='scipy')\n")
    ended = in_python("from salver import evaluate", tmp_path)
    assert (
        "salver.evaluate needs the package scipy: in your clone of Salver, run  pip install -e '.[train]'"
        in ended.stderr
    )


def test_the_version_is_the_packages_own(tmp_path: Path) -> None:
    (wanted,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    command = [sys.executable, "-P", "-m", "salver", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout == f"{wanted}\n"


def test_every_error_that_can_reach_a_person_is_a_salver_error() -> None:
    from loadtest.errors import LoadTestError
    from salver.artifact.errors import ArtifactError
    from salver.client.errors import ClientError
    from salver.errors import SalverError, VariableError
    from service.errors import ScoringError, SettingsError
    from training.errors import TrainingError

    for kind in (VariableError, ArtifactError, ClientError, TrainingError, ScoringError, SettingsError, LoadTestError):
        assert issubclass(kind, SalverError)
