from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from salver.artifact.test_card import card_pixels, check_card
from service.scoring.machine import cpu_features, passport
from service.scoring.model import load_model
from tests.support.live import running_service
from tests.support.models import probe

INTEL = """processor\t: 0
model name\t: some
flags\t\t: fpu sse2 avx avx2 fma f16c avx512f avx512_vnni amx_tile amx_int8 made_up

processor\t: 1
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp bf16\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (INTEL, ("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "amx_tile", "amx_int8")),
        (ARM, ("asimd", "asimdhp", "asimddp", "bf16")),
        ("", ()),
        ("flags\n\xff: x", ()),
    ],
)
def test_the_features_of_the_first_core_that_matter_are_named(
    tmp_path: Path, text: str, found: tuple[str, ...]
) -> None:
    (tmp_path / "cpuinfo").write_text(text, encoding="latin-1")
    assert cpu_features(tmp_path / "cpuinfo") == found


def test_a_system_that_does_not_tell_has_none(tmp_path: Path) -> None:
    assert cpu_features(tmp_path / "absent") == ()


def test_the_difference_is_that_of_the_test_card_at_this_start(tmp_path: Path) -> None:
    model = load_model(str(probe(tmp_path / "model.onnx")), "cpu", 2)
    logits = model.run(card_pixels(model.manifest)[np.newaxis])["logits"][0]
    assert model.card_difference >= check_card(model.manifest, logits)
    golden = model.manifest.golden
    assert model.card_difference <= golden.tolerance
    moved = {label: logit + 2e-4 for label, logit in golden.logits.items()}
    changed = model.manifest.model_copy(update={"golden": golden.model_copy(update={"logits": moved})})
    assert check_card(changed, logits) == pytest.approx(2e-4, rel=0.1)


def test_it_is_said_in_one_line_when_the_service_is_ready(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "salver.service")
    with running_service(probe(tmp_path / "model.onnx")):
        pass
    (line,) = [message for message in caplog.messages if message.startswith("ready: ")]
    assert f"onnxruntime {ort.__version__} on CPUExecutionProvider" in line
    assert "logits of the test card within" in line
    assert line.endswith("of training's")
    assert "\n" not in str(passport("CPUExecutionProvider", 0.0))
