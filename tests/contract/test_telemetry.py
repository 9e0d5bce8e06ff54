"""onnxruntime tells its makers nothing: where it would, it keeps files of that under HOME from its import on."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.models import probe


@pytest.mark.parametrize(
    "room", ["service.scoring.model", pytest.param("training.export.gate", marks=[pytest.mark.torch, pytest.mark.slow])]
)
def test_scoring_keeps_no_files_under_home_and_so_sends_nothing(room: str, tmp_path: Path) -> None:
    model, home = probe(tmp_path / "model.onnx"), tmp_path / "home"
    home.mkdir()
    code = f"import {room}, onnxruntime; onnxruntime.InferenceSession({str(model)!r})"
    subprocess.run([sys.executable, "-c", code], env={"HOME": str(home), "TMPDIR": str(home)}, check=True)
    assert list(home.rglob("*")) == []
