"""The command as a whole: how it ends when a person does not want to wait."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CTRL_C = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n"


@pytest.mark.parametrize(
    ("line", "imported"),
    [
        (["--help"], "typer"),
        (["score", "a.jpg"], "httpx"),
        (["deploy", "one", "model.onnx"], "httpx"),
        (["list"], "httpx"),
        (["loadtest", "local", "model.onnx"], "numpy"),
        (["serve", "model.onnx"], "uvicorn"),
        (["train", "photos"], "pydantic"),
    ],
)
def test_ctrl_c_while_a_command_is_still_importing_is_one_line(line: list[str], imported: str, tmp_path: Path) -> None:
    (tmp_path / f"{imported}.py").write_text(CTRL_C)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-P", "-m", "salver", *line]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGINT, "Interrupted.\n")
