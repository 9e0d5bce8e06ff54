"""Two commands that would write to one folder at once."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from salver.cli import build as command_of
from salver.system.lock import FOLDER_LOCK, Holder
from tests.training.support.photos import photo_folder
from training.dataset.gather.build import build
from training.dataset.gather.download import DownloadLimits
from training.dataset.gather.spec import FolderSource
from training.dataset.reading.places import alone
from training.errors import SettingError
from training.progress import Silent

ROOT = Path(__file__).parents[4]


HOLD = """
import pathlib, sys
from training.dataset.reading.places import alone
with alone(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.mark.torch
@pytest.mark.slow
def test_the_second_run_in_a_folder_is_told_who_has_it_and_takes_over_when_that_one_was_killed(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photo_folder(photos, {"cup": 8, "bowl": 8})
    line = ["train", str(photos), "--out", str(out), "--weights", "none", "--image-size", "64", "--epochs", "1"]
    line += ["--base", "mobilenet_v2", "--device", "cpu", "--resize", "crop"]
    command = [sys.executable, "-P", "-c", HOLD, str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        for option in ("--overwrite", "--resume"):
            second = CliRunner().invoke(command_of("train"), [*line, option])
            named = f"process {first.pid} on {Holder.here().host}"
            told = f"{out} is in use by {named}. Wait until it has ended, or end it.\n"
            assert (second.exit_code, second.stderr) == (1, told)
        first.kill()
    assert [path.name for path in out.iterdir()] == [FOLDER_LOCK]
    third = CliRunner().invoke(command_of("train"), [*line, "--threshold", "mug=0.5"])  # it comes as far as the photos
    assert third.stderr.startswith("There is no label 'mug'")
    assert list(out.iterdir()) == []


def test_a_folder_is_free_again_after_each_command_and_holds_no_lock(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path / "out"):
            assert json.loads((tmp_path / "out" / FOLDER_LOCK).read_text())["pid"] == os.getpid()
        assert not (tmp_path / "out").exists()  # nothing was put into it
    with alone(tmp_path / "out"):
        (tmp_path / "out" / "table.csv").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["table.csv"]


def test_the_lock_of_another_machine_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FOLDER_LOCK).write_text(Holder(pid=7, host="node-b", boot="another").model_dump_json())
    text = f"{tmp_path} is in use by process 7 on node-b. That is another machine: if it has ended there, remove "
    with (
        pytest.raises(SettingError, match=re.escape(f"{text}{tmp_path / FOLDER_LOCK} and start again.")),
        alone(tmp_path),
    ):
        pass


def test_two_builds_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    photo_folder(tmp_path / "cups", {"a": 1, "b": 1})
    sources, out = [FolderSource("cup", tmp_path / "cups")], tmp_path / "out"
    with alone(out), pytest.raises(SettingError, match=f"in use by process {os.getpid()} "):
        build(sources, out, None, per_query=5, limits=DownloadLimits(), progress=Silent())
    assert build(sources, out, None, per_query=5, limits=DownloadLimits(), progress=Silent()).added == 2


@pytest.mark.torch
def test_two_evaluations_into_one_folder_do_not_mix(tmp_path: Path, finished_run: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    out = tmp_path / "report"
    with alone(out):
        line = ["evaluate", str(finished_run / "model.onnx"), str(tmp_path / "photos"), "--out", str(out)]
        result = CliRunner().invoke(command_of("evaluate"), line)
    assert result.exit_code == 2
    assert f"{out} is in use by process {os.getpid()} on" in result.output
    assert not out.exists()
