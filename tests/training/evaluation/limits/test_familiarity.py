"""How familiarity does on labelled photos, and on foreign ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from salver.cli import build
from tests.support.images import solid
from tests.support.models import by_colour
from tests.training.evaluation.evaluations import colour_folder, from_pairs
from training.dataset.dataset import Dataset
from training.errors import DatasetError, SettingError
from training.evaluation.evaluate import evaluate
from training.evaluation.limits.familiarity import familiarity, foreign_share
from training.evaluation.model_file import ModelFile
from training.evaluation.schema import MetricsFile

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images at two depths, without labels, beside a file that is none."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "deep" / "deeper").mkdir(parents=True)
    for number, level in enumerate((0, 255, 128)):
        (folder / "deep" / "deeper" / f"{number}.png").write_bytes(solid((level, level, level)))
    (folder / "loose.png").write_bytes(solid((250, 0, 250)))
    (folder / "notes.txt").write_text("no image")
    return folder


def evaluated(*words: str | Path) -> Result:
    return CliRunner().invoke(build("evaluate"), ["evaluate", *map(str, words)], env={"COLUMNS": "200"})


def test_false_alarms_and_rejected_images_stand_in_metrics_and_on_the_terminal(
    finished_run: Path, foreign: Path, tmp_path: Path
) -> None:
    model, photos = finished_run / "model.onnx", finished_run.parent / "photos"
    ended = evaluated(model, photos, "--out", tmp_path / "report", "--foreign", foreign, "--part", "all")
    assert ended.exit_code == 0, ended.output
    written = MetricsFile.model_validate_json((tmp_path / "report" / "metrics.json").read_text())
    known = ModelFile.read(model).manifest.familiarity
    found, strangers = written.test.familiarity, written.foreign
    assert known is not None
    assert found is not None
    assert strangers is not None
    assert (found.threshold, found.reached, found.photos) == (known.threshold, known.reached, known.photos)
    evaluation = evaluate(model, Dataset.from_dir(photos))
    assert evaluation.foreign is not None
    assert found.false_alarms.value == evaluation.foreign.mean()
    assert found.false_alarms.low is not None
    assert found.unknown == 0
    assert (strangers.folder, strangers.images) == (str(foreign), 4)
    assert strangers == foreign_share(model, foreign)
    assert f"familiarity: {found.false_alarms.value:.4f} (" in ended.stdout
    assert f"of 4 foreign images in {foreign} {strangers.rejected.value:.4f} (" in ended.stdout


def test_an_image_whose_familiarity_is_no_number_is_foreign_and_counted(finished_run: Path) -> None:
    model = ModelFile.read(finished_run / "model.onnx")
    values = np.array([np.nan, 1, -1, np.nan], np.float32)
    evaluation = replace(from_pairs([0, 1, 0, 1], [0, 1, 0, 1], 2), model=model, familiarity=values)
    found = familiarity(evaluation)
    assert found is not None
    assert found.unknown == 2
    assert evaluation.foreign is not None
    assert evaluation.foreign.tolist() == [True, False, True, True]
    assert found.false_alarms.value == 0.75


def test_without_familiarity_there_are_no_figures_and_no_share(foreign: Path, tmp_path: Path) -> None:
    model = by_colour(tmp_path / "model.onnx")
    photos = colour_folder(tmp_path / "photos", 4)
    evaluation = evaluate(model, Dataset.from_dir(photos))
    assert evaluation.metrics().familiarity is None
    with pytest.raises(SettingError, match="has no output 'familiarity': it was exported without"):
        foreign_share(model, foreign)
    ended = evaluated(model, photos, "--out", tmp_path / "report", "--foreign", foreign)
    assert ended.exit_code == 2
    assert "Export it again with all outputs" in ended.stderr
    assert not (tmp_path / "report").exists()


def test_a_foreign_folder_without_images_or_with_broken_ones_is_refused_by_name(
    finished_run: Path, tmp_path: Path
) -> None:
    model, photos = finished_run / "model.onnx", finished_run.parent / "photos"
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match="nothing has no images"):
        foreign_share(model, tmp_path / "nothing")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cut.png").write_bytes(solid((1, 2, 3))[:40])
    with pytest.raises(DatasetError, match=r"1 of 1 image cannot be read.*\n.*cut\.png"):
        foreign_share(model, tmp_path / "broken")
    with pytest.raises(DatasetError, match="missing"):
        foreign_share(model, tmp_path / "missing")
    ended = evaluated(model, photos, "--out", tmp_path / "broken" / "report", "--foreign", tmp_path / "broken")
    assert ended.exit_code == 2
    assert "lies in the folder of photos" in ended.stderr
