import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from salver.cli import build
from tests.training.support.photos import photo_folder
from training.cli.train import EPILOGS

pytestmark = pytest.mark.torch

EXAMPLES = [line for line in EPILOGS["train"].splitlines() if line.startswith("salver train ")]


def help_at(columns: int) -> str:
    result = CliRunner().invoke(build("train"), ["train", "--help"], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0
    return result.stdout


def test_every_option_of_train_is_described_in_a_sentence() -> None:
    command = typer.main.get_command(build("train")).commands["train"]  # type: ignore[attr-defined]
    for parameter in command.params:
        text = getattr(parameter, "help", None) or ""
        assert len(text.split()) >= 3, parameter.name
        assert text.endswith("."), parameter.name


@pytest.mark.parametrize("columns", [80, 120])
def test_the_help_of_train_fits_the_terminal_and_cuts_nothing_off(columns: int) -> None:
    page = help_at(columns)
    assert max(map(len, page.splitlines())) <= columns
    assert "…" not in page
    for line in EPILOGS["train"].split("\n\n"):
        assert f" {line.strip()} " in page  # unbroken, to be copied


def test_what_goes_in_and_out_comes_first_and_the_machine_last() -> None:
    panels = re.findall(r"╭─ ([^─]+) ─", help_at(80))
    assert panels[:3] == ["Arguments", "Options", "Photos"]
    assert panels[-1] == "Machine"


@pytest.mark.soak
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda line: line.rsplit("/", 1)[-1])
def test_the_examples_of_the_help_run(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what makes them small, and without a download, added at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(example))
    photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    small = ["--weights", "none", "--base", "resnet18", "--image-size", "64", "--val-size", "0.2"]
    small += [] if "--head" in example else ["--learning-rates", "0.01"]
    result = CliRunner().invoke(build("train"), [*shlex.split(example)[1:], *small])
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "model.onnx").exists()
    assert (folder / "history.png").exists() is ("--head" not in example)
    assert (folder / "tensorboard").exists() is ("--tensorboard" in example)
