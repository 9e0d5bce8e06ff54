from pathlib import Path

import numpy as np
import pytest

from tests.support.models import by_colour
from tests.training.evaluation.evaluations import colour_folder, from_logits, random_evaluation
from tests.training.run.test_run import file_size_limit
from training.dataset.test_set import read_test_set
from training.errors import SettingError
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.metrics import compute_metrics
from training.evaluation.model_file import ModelFile
from training.evaluation.thresholds import choose_threshold, effect, set_threshold

pytestmark = pytest.mark.torch


@pytest.fixture
def file(tmp_path: Path) -> ModelFile:
    return ModelFile.read(by_colour(tmp_path / "model.onnx"))


def brute(evaluation: Evaluation, label: int, threshold: float) -> tuple[int, int]:
    """Right and accepted images, one by one."""
    accepted = [
        truth == label
        for truth, predicted, score in zip(
            evaluation.truths.tolist(), evaluation.predictions.tolist(), evaluation.scores.tolist(), strict=True
        )
        if predicted == label and score >= threshold
    ]
    return sum(accepted), len(accepted)


@pytest.mark.parametrize("wanted", [0.7, 0.8, 0.9, 0.95])
def test_the_chosen_threshold_is_the_lowest_that_is_precise_enough(wanted: float) -> None:
    evaluation = random_evaluation(300, 3, seed=2, strength=1.2)
    threshold = choose_threshold(evaluation, "label 1", wanted)
    right, accepted = brute(evaluation, 1, threshold)
    assert right / accepted >= wanted
    found = effect(evaluation, "label 1", threshold)
    assert (found.precision.value, found.accepted) == (right / accepted, accepted)
    assert found.recall.value == right / (evaluation.truths == 1).sum()
    for score in evaluation.scores[(evaluation.predictions == 1) & (evaluation.scores < threshold)]:
        fewer, all_of_them = brute(evaluation, 1, float(score))
        assert fewer / all_of_them < wanted


def test_a_label_that_is_precise_enough_needs_no_threshold() -> None:
    evaluation = from_logits([[3, 0], [2, 0], [0, 1]], [0, 0, 1])
    assert choose_threshold(evaluation, "label 0", 0.9) == 0


def test_a_precision_that_cannot_be_had_is_refused_with_the_most_there_is() -> None:
    evaluation = from_logits([[3, 0], [4, 0], [0, 1]], [0, 1, 1])
    with pytest.raises(SettingError, match=r"precision of 0\.95: the most is 0\.5000"):
        choose_threshold(evaluation, "label 0", 0.95)
    with pytest.raises(SettingError, match=r"Of 3 images none is rightly taken for 'label 2'"):
        choose_threshold(from_logits(np.eye(3)[[0, 1, 0]], [0, 1, 1]), "label 2", 0.5)
    with pytest.raises(SettingError, match=r"no label 'cup'"):
        choose_threshold(evaluation, "cup", 0.5)


def test_a_threshold_makes_a_new_version_that_says_how_it_came_about(file: ModelFile, tmp_path: Path) -> None:
    changed = set_threshold(file, file.path, "red", 0.6, min_precision=0.95, fingerprint="f" * 64)
    assert changed.sha256 != file.sha256
    assert ModelFile.read(file.path) == changed
    assert changed.manifest.thresholds == {"red": 0.6}
    (change,) = changed.manifest.provenance.threshold_changes
    assert (change.label, change.threshold, change.from_sha256) == ("red", 0.6, file.sha256)
    assert (change.min_precision, change.data_fingerprint) == (0.95, "f" * 64)
    both = set_threshold(changed, tmp_path / "both.onnx", "blue", 0.7, min_precision=None, fingerprint=None)
    assert both.manifest.thresholds == {"red": 0.6, "blue": 0.7}
    assert ModelFile.read(file.path) == changed
    without = set_threshold(both, both.path, "red", 0, min_precision=None, fingerprint=None)
    assert without.manifest.thresholds == {"blue": 0.7}
    assert len(without.manifest.provenance.threshold_changes) == 3


def test_a_threshold_that_is_there_already_makes_no_new_version(file: ModelFile, tmp_path: Path) -> None:
    nothing = set_threshold(file, file.path, "red", 0, min_precision=None, fingerprint=None)
    assert nothing == file
    changed = set_threshold(file, file.path, "red", 0.6, min_precision=None, fingerprint=None)
    before = file.path.stat()
    again = set_threshold(changed, file.path, "red", 0.6, min_precision=0.9, fingerprint="f")
    assert again == changed
    assert file.path.stat().st_ino == before.st_ino
    copy = set_threshold(changed, tmp_path / "copy.onnx", "red", 0.6, min_precision=None, fingerprint=None)
    assert (copy.path, copy.sha256) == (tmp_path / "copy.onnx", changed.sha256)
    assert copy.path.read_bytes() == file.path.read_bytes()


@pytest.mark.parametrize(
    ("label", "threshold", "message"), [("cup", 0.5, "no label 'cup'"), ("red", 1.5, "from 0 to 1")]
)
def test_what_cannot_be_a_threshold_leaves_the_file_alone(
    file: ModelFile, label: str, threshold: float, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        set_threshold(file, file.path, label, threshold, min_precision=None, fingerprint=None)
    assert ModelFile.read(file.path) == file


def test_on_a_full_disk_the_version_before_stays(file: ModelFile) -> None:
    with file_size_limit(100), pytest.raises(OSError, match="too large"):
        set_threshold(file, file.path, "red", 0.5, min_precision=None, fingerprint=None)
    assert ModelFile.read(file.path) == file


def test_a_file_that_was_exchanged_since_it_was_read_is_neither_scored_nor_written(
    file: ModelFile, tmp_path: Path
) -> None:
    dataset = read_test_set(colour_folder(tmp_path / "photos", 1)).scored
    other = by_colour(tmp_path / "other.onnx", temperature=2.0).replace(file.path)
    there = other.read_bytes()
    with pytest.raises(SettingError, match=r"model\.onnx has been exchanged since it was read"):
        evaluate(file, dataset)
    with pytest.raises(SettingError, match=r"Nothing was written; start the command again"):
        set_threshold(file, file.path, "red", 0.5, min_precision=None, fingerprint=None)
    assert file.path.read_bytes() == there


def test_evaluation_reports_coverage_and_the_accuracy_of_what_is_answered(file: ModelFile, tmp_path: Path) -> None:
    dataset = read_test_set(colour_folder(tmp_path / "photos")).scored
    before = evaluate(file.path, dataset)
    set_threshold(file, file.path, "red", 0.8, min_precision=None, fingerprint=None)
    after = evaluate(file.path, dataset)
    left = (before.predictions != 0) | (before.scores >= 0.8)
    assert 0 < left.sum() < len(dataset)
    found = compute_metrics(after).abstention
    assert found.abstained == (~left).sum()
    assert found.coverage.value == left.mean()
    assert found.accuracy.value == before.right[left].mean()
    assert compute_metrics(after).accuracy == compute_metrics(before).accuracy
