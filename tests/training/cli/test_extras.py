"""What looks at photos needs the extra `data` alone: anything else that is installed here is hidden from it."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.training.support.photos import photo_folder

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HIDING = """
import importlib.abc, json, os, sys
hidden = frozenset(json.loads(os.environ["HIDDEN"]))
class Hiding(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"hidden: {name}", name=name)
sys.meta_path.insert(0, Hiding())
"""
COMMAND = "from salver.cli import main\nmain()"
PAGE = """
from training.dataset.dataset import Dataset
from training.report.annotating import annotate
annotate(Dataset.from_dir(sys.argv[1])).close()
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(requirements: list[str], extra: str = "") -> set[str]:
    """The distributions that these lines of pyproject.toml install, with all that they need."""
    found: set[str] = set()
    waiting = [(Requirement(line), extra) for line in requirements]
    while waiting:
        requirement, of = waiting.pop()
        name = normal(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": of}):
            continue
        if name == "salver":
            waiting += [(Requirement(line), "") for one in requirement.extras for line in extras(one)]
        elif name not in found:
            found.add(name)
            needs = metadata.requires(name) or []
            waiting += [(Requirement(line), one) for line in needs for one in (requirement.extras or {""})]
    return found


def extras(name: str) -> list[str]:
    lines: list[str] = PROJECT["optional-dependencies"][name]
    return lines


def hidden(extra: str) -> list[str]:
    """The top-level modules that an environment with this extra alone does not have."""
    there = wanted([*PROJECT["dependencies"], *extras(extra)])
    rooms = {"salver", "training", "service", "loadtest", "tests", "tools"}
    return sorted(
        module
        for module, distributions in metadata.packages_distributions().items()
        if module not in rooms and not there & set(map(normal, distributions))
    )


def run(extra: str, code: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HIDDEN": json.dumps(hidden(extra)), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HIDING + code, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_what_is_hidden_is_what_the_extra_does_not_bring() -> None:
    assert {"torch", "torchvision", "sklearn", "onnx", "onnxruntime", "matplotlib", "fastapi"} <= set(hidden("data"))
    assert not {"numpy", "PIL", "faiss", "scipy", "httpx", "rich", "typer"} & set(hidden("data"))
    assert not {"fastapi", "uvicorn", "faiss"} & set(hidden("annotate"))


def test_photos_are_checked_split_and_gathered_with_the_extra_data_alone(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 6, "bowl": 6})
    (tmp_path / "spec.json").write_text(json.dumps({"cup": ["photos/cup"], "bowl": ["photos/bowl"]}))
    for words in (
        ("check", tmp_path / "photos"),
        ("split", tmp_path / "photos", "--group-by", "(.*)"),
        ("build", tmp_path / "spec.json", "--out", tmp_path / "built"),
    ):
        ended = run("data", COMMAND, *words)
        assert (ended.returncode, ended.stderr) == (0, ""), words[0]
    refused = run("data", COMMAND, "annotate", tmp_path / "photos")
    assert "needs the package" in refused.stderr
    assert "[annotate]" in refused.stderr


def test_the_annotation_page_needs_the_extra_annotate_alone(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    ended = run("annotate", PAGE, tmp_path / "photos")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_check_of_the_labels_says_before_any_photo_which_extra_it_needs(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 2})
    ended = run("data", COMMAND, "check", tmp_path / "photos", "--labels")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "'salver check --labels' needs the package" in ended.stderr
    assert "[train]" in ended.stderr
    assert not (tmp_path / "photos" / "check.json").exists()


@pytest.mark.parametrize("command", ["train", "evaluate", "augment"])
def test_what_needs_torch_says_which_extra_brings_it(tmp_path: Path, command: str) -> None:
    photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 2})
    words: dict[str, list[str | Path]] = {
        "train": ["--out", tmp_path / "run"],
        "evaluate": [tmp_path / "photos", "--out", tmp_path / "report"],
        "augment": ["--preview", tmp_path / "sheet.png"],
    }
    ended = run("data", COMMAND, command, tmp_path / "photos", *words[command])
    assert ended.returncode == 1
    assert "[train]" in ended.stderr
