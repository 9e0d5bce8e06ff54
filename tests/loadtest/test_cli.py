"""The files of a load test, in a folder in which something else has their names."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.errors import LoadTestError
from loadtest.traffic.photos import from_folder
from salver.cli import build
from salver.system.lock import locked
from tests.support.images import photo
from tests.support.models import probe


@pytest.mark.server
@pytest.mark.slow
def test_a_run_puts_its_files_in_place_of_pipes_and_old_ones_and_a_second_is_told_who_runs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / "result.json")
    os.mkfifo(out / "service.log")
    (out / "report.html").write_bytes(b"\xff torn")
    line = [
        "loadtest",
        "local",
        str(probe(tmp_path / "model.onnx")),
        "--out",
        str(out),
        "--seconds",
        "2",
        "--rate",
        "120",
    ]
    line += ["--sizes", "thumbnail=1", "--mix", "base64=1", "--p99-ms", "60000"]
    with locked(out / ".salver.lock"):
        second = CliRunner().invoke(build("loadtest"), line)
    assert second.exit_code == 1
    assert f"{out} is in use by process {os.getpid()} on " in second.stderr
    CliRunner().invoke(build("loadtest"), line)
    assert json.loads((out / "result.json").read_text())["requests"] > 0
    assert (out / "report.html").read_text().startswith("<!")
    assert not (out / ".salver.lock").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out" / "service.log").mkdir(parents=True)
    line = ["loadtest", "local", str(probe(tmp_path / "model.onnx")), "--out", str(tmp_path / "out")]
    ended = CliRunner().invoke(build("loadtest"), line)
    assert ended.exit_code == 1
    assert ended.stderr.count("\n") == 1
    assert "service.log" in ended.stderr


def test_photos_to_send_are_files_and_no_larger_than_can_be_sent(tmp_path: Path) -> None:
    (tmp_path / "-x.jpg").write_bytes(photo(64, 48, 0))
    (tmp_path / "=1+1.jpg").write_bytes(photo(64, 48, 1))
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    assert len(from_folder(tmp_path)) == 2
    with (tmp_path / "sparse.jpg").open("wb") as stream:
        stream.truncate(30 * 1024**3)
    with pytest.raises(LoadTestError, match=r"sparse\.jpg cannot be sent: It has 32,212,254,720 bytes"):
        from_folder(tmp_path)
