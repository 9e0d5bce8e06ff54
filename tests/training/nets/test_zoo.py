"""In processes of their own: what one of them has imported stays there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def printed(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_run_imports_without_torchs_compiler() -> None:
    code = "import sys, training.run.run; print('torch._dynamo' in sys.modules, 'torch._dynamo.utils' in sys.modules)"
    assert printed(code) == "False False"


def test_the_compiler_is_there_when_somebody_asks_for_it() -> None:
    assert printed("import training.nets.zoo, torch; print(torch.compile(abs)(-2))") == "2"
    code = "import training.nets.zoo; from torchvision.ops.roi_align import is_compile_supported as asked"
    assert printed(f"{code}; print(asked('cpu'))") == "True"


def test_what_torchvision_asks_for_besides_is_the_real_thing() -> None:
    code = (
        "import sys; from training.nets.zoo import COMPILER, _put_off\n"
        "with _put_off():\n"
        "    from torch._dynamo.utils import counters\n"
        "import torch._dynamo.utils\n"
        "print(torch._dynamo.utils.counters is counters)"
    )
    assert printed(code) == "True"
