"""`salver evaluate --folds` and `salver.evaluate_by_folds`."""

import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner, Result

from salver.cli import build
from tests.training.support.interrupting import Interrupting
from tests.training.support.photos import photo_folder
from training.cli.folds import folds_command
from training.dataset.dataset import Dataset
from training.errors import DatasetError, SettingError, WeightsError
from training.evaluation.evaluate import Evaluation
from training.evaluation.intervals import by_folds, wilson
from training.evaluation.model_file import ModelFile
from training.evaluation.schema import MetricsFile
from training.fit.recipe.recipe import LAST_BLOCKS, PRESETS, Changes, Recipe
from training.fit.recipe.schedule import Cosine
from training.progress import Silent
from training.run.by_folds import Way, evaluate_by_folds, judge_fold, outer_folds
from training.run.settings import RunSettings

pytestmark = pytest.mark.torch

SMALL = ("--weights", "none", "--head", "svm", "--image-size", "64", "--resize", "stretch")
SHORT = replace(LAST_BLOCKS, schedule=Cosine(peak=1e-3, epochs=1), views=2, folds=2)


class Heard(Silent):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, line: str) -> None:
        self.lines.append(line)


def scored(data: Dataset | Path, folds: int = 5, progress: Silent | None = None, **how: object) -> Evaluation:
    options = {"head": "svm", "image_size": 64, "resize": "stretch", "device": "cpu", **how}
    return evaluate_by_folds(data, folds, "resnet18", "none", progress=progress, **options)  # type: ignore[arg-type]


def salver(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(build("evaluate"), ["evaluate", *map(str, words)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise: what label they have is chance."""
    root = tmp_path_factory.mktemp("folds") / "photos"
    photo_folder(root, {"cup": 20, "plate": 20})
    return root


def test_each_photo_is_tested_once_at_chance_and_one_fold_is_the_same_alone(photos: Path) -> None:
    """N3-21: no fold goes on from another one's net, so that none knows a photo that it is asked about."""
    dataset, heard = Dataset.from_dir(photos), Heard()
    found = scored(dataset, progress=heard)
    assert found.images == dataset.images
    assert np.isfinite(found.logits).all()
    assert found.by_folds is not None
    assert [fold.images for fold in found.by_folds.folds] == [8] * 5
    for fold in found.by_folds.folds:
        right = round(8 * (fold.accuracy.value or 0))
        assert binomtest(right, 8).pvalue > 0.01  # a net that went on from another one's would have all 8
    accuracy = found.metrics().accuracy
    assert (accuracy.low, accuracy.high) == by_folds(int(found.right.sum()), 40, 5)
    assert accuracy.low is not None
    assert accuracy.low <= 0.5 <= (accuracy.high or 0)
    assert [line[:11] for line in heard.lines] == [f"fold {number} of 5" for number in range(1, 6)]
    way = Way("resnet18", "none", "svm", image_size=64, resize="stretch", device="cpu")
    numbers = outer_folds(dataset, 5, way)
    alone = judge_fold(dataset, numbers, 4, way, Silent())
    np.testing.assert_array_equal(alone.logits, found.logits[numbers == 4])
    assert alone.fold == found.by_folds.folds[4]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [SHORT, Recipe(Cosine(peak=1e-3, epochs=1))], ids=["last blocks", "all layers"])
def test_a_fold_of_fine_tuning_is_the_same_alone_as_in_the_row(recipe: Recipe, tmp_path: Path) -> None:
    """N3-21, for nets that are trained."""
    dataset = photo_folder(tmp_path / "photos", {"cup": 6, "plate": 6})
    found = scored(dataset, 3, head="softmax", recipe=recipe)
    way = Way("resnet18", "none", "softmax", recipe, 64, "stretch", device="cpu")
    numbers = outer_folds(dataset, 3, way)
    alone = judge_fold(dataset, numbers, 2, way, Silent())
    np.testing.assert_array_equal(alone.logits, found.logits[numbers == 2])


def test_a_lone_photo_is_always_learnt_and_never_tested_which_is_said(tmp_path: Path) -> None:
    """N3-23: labels of 12, 12 and 1, then 3 photos."""
    dataset, heard = photo_folder(tmp_path / "one", {"bowl": 12, "cup": 12, "rare": 1}), Heard()
    found = scored(dataset, 3, heard)
    assert heard.lines[0] == (
        "always learnt and never tested, as all photos of their label are one or belong together: 'rare' (1)"
    )
    assert found.by_folds is not None
    assert found.by_folds.always_learnt == ("rare/000.jpg",)
    assert found.logits.shape == (24, 3)
    assert np.isfinite(found.logits).all()
    assert found.absent_labels == ("rare",)
    assert found.metrics().class_averaged_accuracy.low is not None
    three = scored(photo_folder(tmp_path / "three", {"bowl": 12, "cup": 12, "rare": 3}), 3)
    assert len(three.images) == 27
    assert np.isfinite(three.logits).all()


def test_groups_lie_in_one_fold_and_there_are_fewer_folds_where_there_are_fewer_groups(tmp_path: Path) -> None:
    """N3-24."""
    dataset, heard = photo_folder(tmp_path / "photos", {"cup": 6, "plate": 6}), Heard()
    groups = {image.name: f"{image.label} {int(image.path.stem) // 3}" for image in dataset.images}
    for seed in range(20):
        way = Way("resnet18", "none", "svm", image_size=64, seed=seed, groups=groups)
        numbers = outer_folds(dataset, 5, way)
        of_group = {groups[image.name]: number for image, number in zip(dataset.images, numbers, strict=True)}
        assert [of_group[groups[image.name]] for image in dataset.images] == numbers.tolist()
        for number in range(int(numbers.max()) + 1):
            learnt = {image.label for image, own in zip(dataset.images, numbers, strict=True) if own != number}
            assert learnt == {"cup", "plate"}
    found = scored(dataset, 5, heard, groups=groups)
    assert heard.lines[0].startswith("4 folds in place of 5: ")
    assert found.by_folds is not None
    assert (found.by_folds.asked, len(found.by_folds.folds)) == (5, 4)


def test_what_cannot_be_meant_is_refused(photos: Path, tmp_path: Path) -> None:
    few = photo_folder(tmp_path / "few", {"cup": 2, "plate": 2})
    with pytest.raises(DatasetError, match=r"5 folds need as many photos, and there are 4 photos\. Take fewer folds"):
        scored(few, 5)
    lone = photo_folder(tmp_path / "lone", {"cup": 1, "plate": 1})
    with pytest.raises(DatasetError, match="No photo can be tested by the others: each label has one alone"):
        scored(lone, 2)
    with pytest.raises(SettingError, match="The number of folds is 1: give a whole number from 2 to 1000"):
        scored(photos, 1)
    with pytest.raises(SettingError, match="no base 'resnet9'"):
        evaluate_by_folds(photos, 5, "resnet9")
    with pytest.raises(WeightsError, match="no weights file 'imagenette'"):
        evaluate_by_folds(photos, 5, weights="imagenette")
    with pytest.raises(SettingError, match="bowl"):
        scored(photos, 5, class_weights={"bowl": 2.0})


def test_the_command_writes_a_report_of_all_photos_with_the_exit_codes_of_evaluate(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    ended = salver(photos, "--folds", "4", "--out", out, *SMALL)
    assert ended.exit_code == 0, ended.output
    metrics = MetricsFile.model_validate_json((out / "metrics.json").read_text())
    accuracy = metrics.test.accuracy
    assert f"40 images, each by one of 4 nets that did not learn it: accuracy {accuracy.value:.4f} (" in ended.output
    assert [f"fold {number} of 4: 10 photos, accuracy " in ended.output for number in range(1, 5)] == [True] * 4
    assert (metrics.model, metrics.data.images, metrics.test.calibration.temperature) == (None, 40, 1)
    assert metrics.by_folds is not None
    assert len(metrics.by_folds.folds) == 4
    assert accuracy.low is not None
    plain = wilson(round(40 * (accuracy.value or 0)), 40)
    assert accuracy.low < plain[0] < plain[1] < (accuracy.high or 0)
    assert "resnet18 by 4 folds" in (out / "report.html").read_text()
    assert (out / "confusion-matrix.png").exists()
    ended = salver(photos, "--folds", "4", "--out", out, *SMALL, "--fail-under", "0.99")
    assert ended.exit_code == 1, ended.output
    assert "failed: the overall accuracy" in ended.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("MODEL", "PHOTOS", "--folds", "5"), "--folds trains nets of its own on the photos, so that no model file"),
        (("PHOTOS",), "alone and no --folds: name a model file and then the photos to test it on, or add --folds 5"),
        ((), "Name a model file and then a folder of photos, or with --folds the folder of photos alone."),
        (("MODEL", "PHOTOS", "--head", "svm"), "--head says how nets are trained, so it needs --folds. Leave it out."),
        (("PHOTOS", "--folds", "5", "--against", "m", "--part", "all"), "--against and --part are for a model file"),
        (("PHOTOS", "--folds", "5", "--base", "resnet9"), "There is no base 'resnet9'"),
        (("PHOTOS", "--folds", "5", "--class-weights", "cup"), "'cup' in the class weights is not LABEL=NUMBER"),
        (("PHOTOS/none", "--folds", "5"), "Give a readable folder."),
        (("PHOTOS", "--folds", "41", *SMALL), "41 folds need as many photos, and there are 40 photos."),
        (("PHOTOS/cup", "--folds", "5", *SMALL), "label"),
    ],
)
def test_the_command_says_what_cannot_be(words: tuple[str, ...], said: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    ended = salver(*(word.replace("PHOTOS", str(photos)) for word in words), "--out", out)
    assert ended.exit_code == 2
    assert said in ended.output.replace("\n", " ")
    assert not out.exists()


def test_no_report_lies_among_the_photos_or_in_a_run(photos: Path, tmp_path: Path) -> None:
    ended = salver(photos, "--folds", "5", "--out", photos / "cup" / "report", *SMALL)
    assert (ended.exit_code, "lies in the folder of photos" in ended.output) == (2, True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    ended = salver(photos, "--folds", "5", "--out", tmp_path / "run", *SMALL)
    assert (ended.exit_code, "holds a run of 'salver train'" in ended.output) == (2, True)
    assert os.listdir(tmp_path / "run") == ["run.json"]  # noqa: PTH208


def test_a_photo_that_cannot_be_read_is_named_or_left_out(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "cup" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    words = (tmp_path / "photos", "--folds", "2", "--out", tmp_path / "report", *SMALL)
    ended = salver(*words)
    assert ended.exit_code == 2
    assert "cup/broken.jpg" in ended.output
    assert not (tmp_path / "report").exists()
    ended = salver(*words, "--on-bad", "skip")
    assert ended.exit_code == 0, ended.output
    assert "40 images, each by one of 2 nets" in ended.output


def test_ctrl_c_leaves_no_half_of_a_report(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        scored(photos, 3, Interrupting("fold 2 of 3, features, stretch", 0), cache=tmp_path / "cache")
    monkeypatch.setattr("training.run.by_folds.Classifier.score", _interrupted)
    ended = salver(photos, "--folds", "3", "--out", tmp_path / "report", *SMALL)
    assert ended.exit_code == 130
    assert "Interrupted." in ended.output
    assert not (tmp_path / "report").exists()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_train_names_the_command_that_tests_each_photo_and_the_weights_that_it_took(tmp_path: Path) -> None:
    photo_folder(tmp_path / "my photos", {"cup": 24, "rare": 6})
    words = ["train", tmp_path / "my photos", "--out", tmp_path / "run", *SMALL, "--device", "cpu"]
    ended = CliRunner(env={"COLUMNS": "400"}).invoke(build("train"), [str(word) for word in words])
    assert ended.exit_code == 0, ended.output
    (line,) = [line for line in ended.output.splitlines() if "to test each photo by folds: " in line]
    assert line.startswith("the test figure is of 10 photos, so its interval is ")
    command = shlex.split(line.partition("by folds: ")[2])
    assert command[:2] == ["salver", "evaluate"]
    again = salver(*command[2:])
    assert again.exit_code == 0, again.output
    metrics = MetricsFile.model_validate_json((tmp_path / "run-folds" / "metrics.json").read_text())
    assert (metrics.test.images, metrics.by_folds and metrics.by_folds.weighted) == (30, True)
    weights = ModelFile.read(tmp_path / "run" / "model.onnx").manifest.provenance.class_weights
    assert weights == pytest.approx({"cup": 20 / 32, "rare": 20 / 8})


def test_the_command_that_train_names_has_what_was_not_as_usual(tmp_path: Path) -> None:
    usual = RunSettings(Path("photos"), Path("runs/one"), "resnet18", "imagenet", (224, 224))
    assert folds_command(usual) == "salver evaluate photos --folds 5 --out runs/one-folds"
    other = replace(
        usual, base="mobilenet_v2", weights="offline", image_size=(64, 96), recipe=PRESETS["quick"].recipe, seed=3
    )
    other = replace(other, resize="pad", class_weights={"cup": 2.0}, on_bad="skip", changes=Changes(epochs=2))
    assert folds_command(other) == (
        "salver evaluate photos --folds 5 --out runs/one-folds --base mobilenet_v2 --weights offline --recipe quick "
        "--image-size 64x96 --resize pad --class-weights cup=2.0 --seed 3 --on-bad skip, which takes the recipe "
        "unchanged"
    )
