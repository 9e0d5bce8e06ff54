"""`salver evaluate` says which photos its model was made of, and leaves them out unless told otherwise."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from salver.artifact.manifest import Fingerprints
from salver.cli import build
from tests.support.images import solid
from tests.support.models import by_colour
from tests.training.evaluation.evaluations import colour_folder
from training.dataset.dataset import Dataset
from training.dataset.split.fingerprints import take_fingerprints
from training.evaluation.evaluate import evaluate
from training.evaluation.limits.seen import described, known_photos
from training.evaluation.model_file import ModelFile
from training.evaluation.schema import MetricsFile, PartCounts, Seen

pytestmark = pytest.mark.torch


def salver(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(build(str(words[0])), [str(word) for word in words])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return colour_folder(tmp_path / "photos", 10)


def prints(photos: Path) -> Fingerprints:
    """Of each colour 6 to train on, 1 watched, 3 to test on."""
    of = {"train": range(6), "validation": [6], "test": range(7, 10)}
    images = Dataset.from_dir(photos).images
    return take_fingerprints(
        {part: [image for image in images if int(image.path.stem) in numbers] for part, numbers in of.items()}  # type: ignore[misc]
    )


@pytest.fixture
def model(photos: Path, tmp_path: Path) -> Path:
    path = by_colour(tmp_path / "model.onnx")
    file = ModelFile.read(path)
    file.write(path, file.manifest.model_copy(update={"fingerprints": prints(photos)}))
    return path


def evaluated(model: Path, photos: Path, out: Path, *words: str | Path) -> tuple[str, MetricsFile]:
    ended = salver("evaluate", model, photos, "--out", out, *words)
    assert ended.exit_code == 0, ended.output
    return ended.output, MetricsFile.model_validate_json((out / "metrics.json").read_text())


def test_photos_that_were_trained_on_are_counted_and_not_scored(model: Path, photos: Path, tmp_path: Path) -> None:
    said, metrics = evaluated(model, photos, tmp_path / "report")
    assert "18 of these 30 photos were trained on, 3 watched (validation), 9 are test photos of the run" in said
    assert "taken are the 9 of 30 photos that were neither trained on nor watched; --part all takes all of them" in said
    assert "too good" not in said
    assert metrics.test.images == metrics.data.images == 9
    assert metrics.seen is not None
    assert metrics.seen.folder == PartCounts(train=18, validation=3, test=9, new=0)
    assert metrics.seen.scored == PartCounts(train=0, validation=0, test=9, new=0)
    assert (metrics.seen.test_photos, metrics.seen.test_scored, metrics.seen.test_gone) == (9, 9, 0)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "18 of these 30 photos were trained on" in page


def test_all_of_them_are_scored_when_asked_for_and_the_figures_called_too_good(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    said, metrics = evaluated(model, photos, tmp_path / "report", "--part", "all")
    assert "of the 30 scored photos 18 were trained on and 3 were watched: these figures are too good" in said
    assert "21 of them were trained on or watched, so these figures are too good" in said
    assert metrics.test.images == 30
    assert "these figures are too good" in (tmp_path / "report" / "report.html").read_text()


def test_a_file_that_keeps_none_scores_all_and_says_that_it_cannot_tell(photos: Path, tmp_path: Path) -> None:
    plain = by_colour(tmp_path / "plain.onnx")
    said, metrics = evaluated(plain, photos, tmp_path / "report")
    assert f"{plain} does not say which photos it was trained on: these may be among them" in said
    assert (metrics.test.images, metrics.seen) == (30, None)


def test_test_photos_that_are_gone_changed_flagged_or_relabelled_are_counted(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    """Each way in which a test can become easier without a word."""
    (photos / "red" / "007.png").unlink()
    (photos / "red" / "008.png").write_bytes(solid((200, 1, 1)))
    (photos / "green" / "007.png").rename(photos / "blue" / "other name.png")
    (photos / "annotations.csv").write_text("path,label,flag,note\ngreen/008.png,,bad,\n")
    said, metrics = evaluated(model, photos, tmp_path / "report")
    assert (
        "18 of these 28 photos were trained on, 3 watched (validation), 6 are test photos of the run, 1 is new" in said
    )
    assert (
        "of the 9 test photos of the model's run 3 are missing here (1 left out, as flagged or quarantined, 2 removed, "
        "moved away or changed): what is left may be easier"
    ) in said
    assert "1 scored photo has another label than in the model's run" in said
    found = metrics.seen
    assert found is not None
    assert (found.test_scored, found.test_not_taken, found.test_left_out, found.test_gone) == (6, 0, 1, 2)
    assert found.other_label == 1
    assert "2 removed, moved away or changed" in (tmp_path / "report" / "report.html").read_text()


def test_a_copy_that_was_encoded_anew_is_new_as_the_page_says(model: Path, photos: Path, tmp_path: Path) -> None:
    from PIL import Image

    for path in (photos / "red").iterdir():
        with Image.open(path) as image:
            image.save(path.with_suffix(".webp"), lossless=True)
        path.unlink()
    _, metrics = evaluated(model, photos, tmp_path / "report")
    assert metrics.seen is not None
    assert metrics.seen.scored.new == 10
    assert metrics.seen.test_gone == 3


def test_photos_that_the_run_never_had_are_all_scored_without_a_word_on_its_test_part(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "new" / "red").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "new" / "red" / f"{number}.png").write_bytes(solid((250, number, 3)))
    said, metrics = evaluated(model, tmp_path / "new", tmp_path / "report")
    assert "none of these 3 photos was in the model's run, as far as contents tell" in said
    assert "missing" not in said
    assert metrics.test.images == 3


def test_a_part_by_split_file_is_what_it_says_and_is_counted_too(model: Path, photos: Path, tmp_path: Path) -> None:
    assert salver("split", photos, "--test-size", "0.5").exit_code == 0
    _, metrics = evaluated(model, photos, tmp_path / "report", "--split", photos / "split.csv")
    assert metrics.seen is not None
    assert metrics.test.images == 15
    scored = metrics.seen.scored
    assert scored.train + scored.validation + scored.test == 15
    assert metrics.seen.test_not_taken == 9 - scored.test


def test_the_old_model_of_a_comparison_is_judged_too(model: Path, photos: Path, tmp_path: Path) -> None:
    older = tmp_path / "older.onnx"
    file, images = ModelFile.read(model), Dataset.from_dir(photos).images
    every = take_fingerprints({"train": images})
    file.write(older, file.manifest.model_copy(update={"fingerprints": every}))
    said, metrics = evaluated(model, photos, tmp_path / "report", "--against", older)
    assert "the old model was trained on 9 of them or watched them, so its figures are too good" in said
    assert metrics.comparison is not None
    assert metrics.comparison.old_seen == PartCounts(train=9, validation=0, test=0, new=0)


def test_a_run_tells_it_for_its_file_where_that_keeps_none_and_for_no_other(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    file = ModelFile.read(by_colour(tmp_path / "run" / "model.onnx"))
    assert known_photos(file) is None
    record = {
        "trained_on": file.manifest.provenance.data_fingerprint,
        "fingerprints": prints(photos).model_dump(mode="json"),
    }
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    known = known_photos(file)
    assert known is not None
    assert known.size("test") == 9
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"trained_on": "another"}))
    assert known_photos(file) is None
    for damaged in (
        "",
        "[]",
        '{"fingerprints": {}}',
        json.dumps(record | {"fingerprints": {"train": {"red": "AAA="}}}),
    ):
        (tmp_path / "run" / "run.json").write_text(damaged)
        assert known_photos(file) is None


def test_a_threshold_is_chosen_on_what_was_neither_trained_on_nor_tested_on(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    ended = salver(
        "threshold", model, "--label", "red", "--min-precision", "0.5", "--data", photos, "--out", tmp_path / "o.onnx"
    )
    assert ended.exit_code == 0, ended.output
    assert "18 of these 30 photos were trained on" in ended.output
    assert "taken are the 3 of 30 photos that were neither trained on nor tested on" in ended.output


def test_a_notebook_shows_it_beside_the_figures(model: Path, photos: Path) -> None:
    shown = evaluate(model, Dataset.from_dir(photos))._repr_html_()
    assert "18 of these 30 photos were trained on, 3 watched (validation), 9 are test photos of the run" in shown


def test_each_number_has_its_verb() -> None:
    one = PartCounts(train=1, validation=1, test=1, new=1)
    found = Seen(
        folder=one,
        scored=one,
        other_label=2,
        test_photos=1,
        test_scored=0,
        test_not_taken=1,
        test_left_out=0,
        test_gone=0,
    )
    assert described(found) == (
        "1 of these 4 photos was trained on, 1 watched (validation), 1 is a test photo of the run, 1 is new to it",
        "of the 4 scored photos 1 was trained on and 1 was watched: these figures are too good",
        "of the 1 test photo of the model's run 1 is missing here (1 not among the scored ones): what is left may be "
        "easier",
        "2 scored photos have another label than in the model's run",
    )


def test_a_folder_is_scored_once_more_after_it_was_copied_elsewhere(model: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "elsewhere")
    _, metrics = evaluated(model, tmp_path / "elsewhere", tmp_path / "report")
    assert metrics.test.images == 9
