"""Labels with one, two and three photos beside two of 40: N3-23 of the cases."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from salver.cli import build
from training.dataset.gather.sample.render import render

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def train(tmp_path: Path, rare: int) -> Result:
    for label, count in (("cutlery", 40), ("plate", 40), ("rare", rare)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(count):
            picture = render("bowl" if label == "rare" else label, number, size=(96, 96))
            picture.save(tmp_path / "photos" / label / f"{number:03d}.jpg")
    words = ["train", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), "--head", "svm", "--image-size", "64"]
    net = ["--base", "mobilenet_v2", "--weights", "offline", "--device", "cpu"]
    return CliRunner(env={"COLUMNS": "200"}).invoke(build("train"), [*words, *net])


@pytest.mark.parametrize("rare", [2, 3])
def test_a_rare_label_gives_no_figure_that_is_no_number(tmp_path: Path, rare: int) -> None:
    ended = train(tmp_path, rare)
    assert ended.exit_code == 0, ended.output
    nan = re.compile(r"\bnan\b", re.IGNORECASE)
    assert not nan.search(ended.output)
    texts = [path for path in (tmp_path / "run").rglob("*") if path.suffix in {".json", ".csv"}]
    assert {path.name for path in texts} >= {"metrics.json", "run.json", "history.json", "scores.csv"}
    assert not [path for path in texts if nan.search(path.read_text())]
    report = (tmp_path / "run" / "report.html").read_text()
    (data,) = re.findall(r'<script [^>]*id="data">(.*?)</script>', report, re.DOTALL)
    assert not nan.search(data)


def test_a_label_with_one_photo_cannot_be_tested_and_is_named_with_its_count(tmp_path: Path) -> None:
    ended = train(tmp_path, 1)
    assert ended.exit_code == 1
    assert "Too few images for 2 parts: 'rare' has 1." in ended.stderr
    assert not (tmp_path / "run" / "model.onnx").exists()
