"""The report as files: the whole path from a model file and a folder of photos."""

import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from salver.cli import build
from tests.support.images import solid
from tests.support.models import by_colour, constant, nan_for_white
from tests.training.evaluation.evaluations import colour_folder, random_evaluation
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.dataset.test_set import read_test_set
from training.errors import DatasetError
from training.evaluation.evaluate import evaluate
from training.evaluation.metrics import compute_metrics
from training.evaluation.model_file import ModelFile
from training.evaluation.plots import confusion_figure
from training.evaluation.schema import MetricsFile
from training.progress import Silent
from training.report.page_data import PageData, page_data
from training.report.report import NO_EPOCHS, laid_out, metrics_of, render, write_report

pytestmark = pytest.mark.torch

SCHEMA = Path(__file__).parents[3] / "docs" / "metrics.schema.json"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_folder(tmp_path_factory.mktemp("report") / "photos")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return by_colour(tmp_path / "model.onnx", temperature=1.5)


def salver(*words: str | Path) -> Result:
    return CliRunner().invoke(build(str(words[0])), [str(word) for word in words])


def strict(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def data_of(page: Path) -> PageData:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    content = json.loads(found[1])
    for name in ("confusion_matrix", "confusion_matrix_by_truth"):
        content["metrics"]["test"][name] = []
    return PageData.model_validate(content)


def test_a_model_file_and_photos_become_a_report_whose_figures_are_the_files(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    result = salver("evaluate", model, photos, "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    evaluation = evaluate(model, Dataset.from_dir(photos))
    assert f"60 images: accuracy {evaluation.accuracy:.4f} (" in result.stdout
    written = MetricsFile.model_validate(strict(tmp_path / "report" / "metrics.json"))
    assert written == metrics_of(evaluation)
    assert written.model is not None
    assert written.model.sha256 == ModelFile.read(model).sha256
    assert written.data.folder == str(photos)
    assert written.data.fingerprint == Dataset.from_dir(photos).fingerprint()
    page = data_of(tmp_path / "report" / "report.html")
    assert page.answers.losses == tuple(sorted(evaluation.losses.tolist(), reverse=True))
    assert len(page.thumbnails) == 60
    assert page.command == f"salver threshold {model}"
    pictures = {path.name for path in (tmp_path / "report").iterdir()} - {"metrics.json", "report.html"}
    names = ("roc", "precision-recall", "confusion-matrix", "reliability", "coverage")
    assert pictures == {f"{name}.{form}" for name in names for form in ("png", "svg")}
    for name in names:
        with Image.open(tmp_path / "report" / f"{name}.png") as picture:
            assert min(picture.size) > 300
        assert "<svg" in (tmp_path / "report" / f"{name}.svg").read_text(encoding="utf-8")


def test_the_published_schema_is_that_of_the_file_and_the_file_keeps_it(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    published = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema = MetricsFile.model_json_schema(mode="serialization")
    assert published == schema, f"write {SCHEMA} anew: {json.dumps(schema, indent=2)}"
    evaluation = evaluate(model, Dataset.from_dir(photos))
    write_report(tmp_path, evaluation, metrics_of(evaluation, evaluation, evaluation), old=evaluation)
    validator = jsonschema_rs.validator_for(published)
    validator.validate(strict(tmp_path / "metrics.json"))
    assert not validator.is_valid({"schema_version": 1})


def test_a_classifier_evaluated_and_the_file_that_was_made_from_it_give_the_same(photos: Path, model: Path) -> None:
    file = evaluate(model, Dataset.from_dir(photos))
    assert file.images == Dataset.from_dir(photos).images
    before = replace(file, model=None)
    assert (before.temperature, dict(before.thresholds)) == (None, {})
    assert metrics_of(before).model is None
    assert metrics_of(before).test.accuracy == metrics_of(file).test.accuracy


def test_a_set_with_one_label_alone_is_evaluated(model: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "red").symlink_to(photos / "red")
    test = compute_metrics(evaluate(model, read_test_set(tmp_path / "one").scored))
    assert test.absent_labels == ("green", "blue")
    assert test.class_averaged_accuracy.value == test.accuracy.value
    with pytest.raises(DatasetError, match="no labelled images"):
        read_test_set(photos / "red")


def test_a_label_that_the_model_does_not_know_is_refused_by_name(model: Path, photos: Path, tmp_path: Path) -> None:
    for label in ("red", "cup"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "1.png").write_bytes(solid((200, 30, 30)))
    result = salver("evaluate", model, tmp_path / "photos", "--out", tmp_path / "report")
    assert result.exit_code == 2
    assert "has the label 'cup'. The model file" in result.stderr
    assert f"{model} does not have it: its labels are red, green, blue." in result.stderr
    assert not (tmp_path / "report").exists()


def test_images_that_cannot_be_read_are_listed_and_nothing_is_written(model: Path, tmp_path: Path) -> None:
    colour_folder(tmp_path / "photos", 2)
    for name in ("red/000.png", "blue/001.png"):
        (tmp_path / "photos" / name).write_bytes((tmp_path / "photos" / name).read_bytes()[:60])
    result = salver("evaluate", model, tmp_path / "photos", "--out", tmp_path / "report")
    assert result.exit_code == 2
    assert "2 of 6 images cannot be read" in result.stderr
    assert "red/000.png: The PNG file is truncated" in result.stderr
    assert not (tmp_path / "report").exists()


class Stopping(Silent):
    """Ctrl-C at the third image."""

    images = 0

    def advance(self, images: int, note: str = "") -> None:
        super().advance(images, note)
        self.images += images
        if self.images == 3:
            raise KeyboardInterrupt


def test_an_evaluation_that_is_interrupted_stops_at_once(model: Path, photos: Path) -> None:
    stopping = Stopping()
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, Dataset.from_dir(photos), stopping)
    assert stopping.images == 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_images_without_finite_scores_stand_first_and_their_loss_is_null(tmp_path: Path) -> None:
    for label, level in (("a", 255), ("b", 100), ("c", 40)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "1.png").write_bytes(solid((level, level, level)))
    evaluation = evaluate(nan_for_white(tmp_path / "model.onnx"), Dataset.from_dir(tmp_path / "photos"))
    assert evaluation.predictions.tolist() == [-1, 0, 0]
    write_report(tmp_path / "report", evaluation, metrics_of(evaluation))
    strict(tmp_path / "report" / "metrics.json")
    page = data_of(tmp_path / "report" / "report.html")
    assert (page.answers.names[0], page.answers.predictions[0], page.answers.losses[0]) == ("a/1.png", -1, None)
    assert page.metrics.test.non_finite == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no model", "is not an ONNX file"), (None, "Cannot read the model file")],
)
def test_a_file_that_is_no_model_is_refused(photos: Path, tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    result = salver("evaluate", tmp_path / "model.onnx", photos, "--out", tmp_path / "report")
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_graph_that_ends_in_a_softmax_is_refused(photos: Path, tmp_path: Path) -> None:
    result = salver(
        "evaluate", constant(tmp_path / "m.onnx", [1, 2], softmax=True), photos, "--out", tmp_path / "report"
    )
    assert result.exit_code == 2
    assert "ends in a softmax" in result.stderr


def test_an_older_model_is_compared_and_the_exit_code_keeps_a_pipeline(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    worse = constant(tmp_path / "worse.onnx", [0, 0, 1])
    manifest = ModelFile.read(model).manifest
    ModelFile.read(worse).write(worse, manifest)  # the same labels
    common = (photos, "--out", tmp_path / "report")
    better = salver("evaluate", model, *common, "--against", worse, "--no-worse-than-old", "--fail-under", "0.5")
    assert better.exit_code == 0, better.output
    assert "the old model: 0.3333" in better.stdout
    page = data_of(tmp_path / "report" / "report.html")
    assert page.answers.old is not None
    new = [manifest.labels[index] for index in page.answers.predictions]
    moved = [one != other for one, other in zip(new, page.answers.old, strict=True)]
    assert moved == sorted(moved, reverse=True)  # the images whose answer changed come first
    comparison = page.metrics.comparison
    assert comparison is not None
    assert comparison.changed == sum(moved)
    lost = salver("evaluate", worse, *common, "--against", model, "--no-worse-than-old", "--fail-under", "0.9")
    assert lost.exit_code == 1
    assert "fewer images right than the old one" in lost.stdout
    assert "the overall accuracy 0.3333 is under 0.9" in lost.stdout
    alone = salver("evaluate", model, *common, "--no-worse-than-old")
    assert alone.exit_code == 2
    assert "name it with --against" in alone.stderr


def test_the_threshold_command_chooses_on_photos_and_writes_the_file(model: Path, photos: Path) -> None:
    before = ModelFile.read(model)
    chosen = salver("threshold", model, "--label", "red", "--min-precision", "0.98", "--data", photos)
    assert chosen.exit_code == 0, chosen.output
    assert "on these photos: precision " in chosen.stdout
    found = ModelFile.read(model).manifest
    assert found.thresholds is not None
    assert 0 < found.thresholds["red"] < 1
    (change,) = found.provenance.threshold_changes
    assert (change.from_sha256, change.min_precision) == (before.sha256, 0.98)
    given = salver("threshold", model, "--label", "blue", "--threshold", "0.5")
    assert given.exit_code == 0, given.output
    assert ModelFile.read(model).manifest.thresholds == {**found.thresholds, "blue": 0.5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label", "red"], "Give either --threshold or --min-precision"),
        (["--label", "red", "--threshold", "0.5", "--min-precision", "0.9"], "Give either"),
        (["--label", "red", "--min-precision", "0.9"], "name their folder with --data"),
        (["--label", "cup", "--threshold", "0.5"], "no label 'cup'"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused_with_what_to_do(model: Path, words: list[str], message: str) -> None:
    before = model.read_bytes()
    result = salver("threshold", model, *words)
    assert result.exit_code == 1
    assert message in result.stderr
    assert model.read_bytes() == before


def test_the_part_of_a_split_is_evaluated_alone(model: Path, tmp_path: Path) -> None:
    photos = colour_folder(tmp_path / "photos", 6)
    assert salver("split", photos, "--test-size", "0.34").exit_code == 0
    result = salver("evaluate", model, photos, "--split", photos / "split.csv", "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    placed = (photos / "split.csv").read_text(encoding="utf-8").count(",test,")
    assert 0 < placed < 18
    assert f"{placed} images: " in result.stdout


def test_hostile_names_stay_text(photos: Path, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    evaluation = random_evaluation(3, 3)
    image = photos / "red" / "000.png"
    images = tuple(LabelledImage(image, "red", f"{evil}<!--/{number}.png") for number in range(3))
    labels = (evil, "<!--", "{{ 7 * 7 }}")
    page = render(
        page_data(
            replace(evaluation, labels=labels, images=images),
            metrics_of(evaluation),
            NO_EPOCHS,
            old=None,
            max_thumbnails=1,
        )
    )
    assert evil not in page
    assert page.count("</script>") == 2
    content = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert content["labels"] == list(labels)
    assert content["answers"]["names"][0].startswith(evil)


def test_thumbnails_are_kept_to_the_number_and_a_photo_that_went_away_has_none(photos: Path, tmp_path: Path) -> None:
    evaluation = random_evaluation(3, 3)
    paths = (photos / "red" / "000.png", tmp_path / "gone.png", photos / "red" / "001.png")
    evaluation = replace(evaluation, images=tuple(LabelledImage(path, "red") for path in paths))
    data = page_data(evaluation, metrics_of(replace(evaluation, images=())), NO_EPOCHS, old=None, max_thumbnails=2)
    assert len(data.thumbnails) == 2
    everything = page_data(
        evaluation, metrics_of(replace(evaluation, images=())), NO_EPOCHS, old=None, max_thumbnails=9
    ).thumbnails
    assert sorted(map(bool, everything)) == [False, True, True]


def test_of_many_labels_the_page_holds_the_best_scores_of_each_image_and_the_matrix_names_some(tmp_path: Path) -> None:
    few = metrics_of(random_evaluation(2, 2))
    evaluation = random_evaluation(1200, 1000, strength=5)
    images = tuple(LabelledImage(tmp_path / "none.png", "x") for _ in range(1200))
    assert page_data(replace(evaluation, images=images), few, NO_EPOCHS, old=None, max_thumbnails=0).best.count == 833
    assert len(confusion_figure(evaluation, "").axes[0].get_xticklabels()) == 50


def test_a_document_is_laid_out_in_lines_and_reads_back() -> None:
    document = {"a": 0.5, "none": None, "row": [1, 2], "rows": [[1], [2]], "of": {"ä": "[1,\n 2]"}, "no": {}, "all": []}
    text = laid_out(document)
    assert json.loads(text) == document
    assert text.splitlines()[1:4] == ['  "a": 0.5,', '  "none": null,', '  "row": [1, 2],']
    with pytest.raises(ValueError, match="not JSON compliant"):
        laid_out({"a": np.nan})
