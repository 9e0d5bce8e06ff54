"""What stands beside the logits in a run's file: asked for, left out, said in the summary, kept, and a file's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from salver.artifact.manifest import Manifest, OutputName
from salver.artifact.scores import is_foreign
from salver.cli import build
from tests.training.support.photos import photo_folder
from tests.training.support.runs import manifest_of
from training.cli.said.output import print_summary
from training.dataset.dataset import Dataset
from training.dataset.gather.sample.render import write_sample
from training.errors import SettingError
from training.evaluation.evaluate import evaluate
from training.evaluation.intervals import wilson
from training.evaluation.model_file import ModelFile
from training.fit.recipe.recipe import GENTLE
from training.run.classifier import Classifier
from training.run.folder import RunResult

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def small_net(labels: tuple[str, ...], base: str = "resnet18", seed: int = 0) -> Classifier:
    return Classifier(base, labels, image_size=64, weights="none", seed=seed, resize="stretch", device="cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return photo_folder(tmp_path_factory.mktemp("outputs") / "photos", {"cup": 6, "plate": 6})


@pytest.fixture(scope="module")
def classifier(photos: Dataset) -> Classifier:
    fitted = small_net(photos.labels)
    fitted.fit_head(photos, photos)
    return fitted


def summary(result: RunResult) -> str:
    console = Console(width=200)
    with console.capture() as said:
        print_summary(result, console)
    return said.get()


def result_of(classifier: Classifier, photos: Dataset, manifest: Manifest, *asked: OutputName) -> RunResult:
    evaluation = evaluate(classifier, photos)
    return RunResult(
        out=Path("run"),
        classifier=classifier,
        recipe=GENTLE,
        val_size=0.0,
        manifest=manifest,
        validation=evaluation,
        test=evaluation,
        spent={"learning": 1.0},
        asked=("logits", *asked),
    )


# Row N3-34: 12 photos cannot give 5 %.
def test_twelve_photos_reach_what_they_can_and_the_command_says_so(tmp_path: Path) -> None:
    write_sample(tmp_path / "photos", 6)
    words = ["train", tmp_path / "photos", "--out", tmp_path / "run", "--base", "resnet18", "--weights", "none"]
    words += ["--image-size", "64", "--epochs", "1", "--test-size", "0.25", "--val-size", "0.25", "--device", "cpu"]
    ended = CliRunner().invoke(build("train"), [str(word) for word in words], env={"COLUMNS": "200"})
    assert ended.exit_code == 0, ended.output
    found = manifest_of(tmp_path / "run" / "model.onnx").familiarity
    assert found is not None
    assert (found.photos, found.max_false_alarms) == (12, 0.05)
    assert found.reached == pytest.approx(1 / 13)
    line = next(line for line in ended.stdout.splitlines() if line.startswith("familiarity: "))
    assert f"threshold {found.threshold:.4f}, 5.00% false alarms asked, 7.69% reached" in line
    assert "reached: the least that 12 photos can give" in line
    assert "set by 12 different training photos and 3 directions" in line


def test_logits_alone_leave_everything_else_out(tmp_path: Path, classifier: Classifier, photos: Dataset) -> None:
    manifest = classifier.export(tmp_path / "model.onnx", photos, outputs=["logits"])
    assert list(manifest.outputs) == ["logits"]
    assert (manifest.features, manifest.familiarity, manifest.heat) == (None, None, None)
    weights = onnx.load(tmp_path / "model.onnx").graph.initializer
    assert not [tensor.name for tensor in weights if "familiarity" in tensor.name]
    said = summary(result_of(classifier, photos, manifest))
    assert "left out, as asked: features, familiarity, heat" in said
    assert "no heat" not in said
    with pytest.raises(SettingError, match=r"no output 'features': it was exported without. Export it again with all"):
        ModelFile.read(tmp_path / "model.onnx").check_output("features")


def test_what_cannot_be_is_said_with_the_reason(tmp_path: Path, classifier: Classifier, photos: Dataset) -> None:
    manifest = classifier.export(tmp_path / "model.onnx", photos)
    without = manifest.model_copy(update={"base": "alexnet", "heat": None, "familiarity": None})
    said = summary(result_of(classifier, photos, without, "features", "familiarity", "heat"))
    assert "no heat: alexnet has layers between its feature map and its logits" in said
    assert "no familiarity: fewer than 4 different training photos" in said
    with pytest.raises(SettingError, match="There is no output 'heet'"):
        classifier.export(tmp_path / "model.onnx", photos, outputs=["logits", "heet"])  # type: ignore[list-item]
    with pytest.raises(SettingError, match="share of false alarms is 1"):
        classifier.export(tmp_path / "model.onnx", photos, max_false_alarms=1.0)


def test_a_classifier_that_was_saved_keeps_its_familiarity(
    tmp_path: Path, classifier: Classifier, photos: Dataset
) -> None:
    classifier.save(tmp_path / "cups.safetensors")
    loaded = Classifier.load(tmp_path / "cups.safetensors", device="cpu")
    before, after = (one.export(tmp_path / "model.onnx", photos) for one in (classifier, loaded))
    assert after.familiarity == before.familiarity
    assert before.familiarity is not None
    given, again = evaluate(classifier, photos), evaluate(loaded, photos)
    file = evaluate(tmp_path / "model.onnx", photos)
    assert given.familiarity is not None
    assert again.familiarity is not None
    assert file.familiarity is not None
    np.testing.assert_array_equal(given.familiarity, again.familiarity)
    np.testing.assert_allclose(file.familiarity, given.familiarity, atol=1e-4)


def test_a_label_with_two_photos_is_among_the_judged(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", {"cup": 10, "plate": 2})
    few = small_net(photos.labels)
    few.fit_head(photos, photos)
    found = few.export(tmp_path / "model.onnx").familiarity
    assert found is not None
    assert found.photos == 12
    assert found.reached == pytest.approx(1 / 13)


# Row N3-35: the same photos, each stored twice.
def test_copies_move_no_threshold_and_fresh_photos_are_seldom_foreign(tmp_path: Path) -> None:
    write_sample(tmp_path / "photos", 15)
    once = Dataset.from_dir(tmp_path / "photos")
    first = small_net(once.labels)
    first.fit_head(once, once)
    one = first.export(tmp_path / "one.onnx")
    for image in once.images:
        (image.path.parent / f"again-{image.path.name}").write_bytes(image.path.read_bytes())
    twice = Dataset.from_dir(tmp_path / "photos")
    assert len(twice) == 120
    second = small_net(once.labels)
    second.fit_head(twice, twice)
    two = second.export(tmp_path / "two.onnx")
    assert one.familiarity is not None
    assert two.familiarity is not None
    assert (one.familiarity.photos, two.familiarity.photos) == (60, 60)
    assert two.familiarity.threshold == pytest.approx(one.familiarity.threshold, abs=0.01)
    write_sample(tmp_path / "fresh", 25, seed=9)
    fresh = Dataset.from_dir(tmp_path / "fresh")
    for path in ("one.onnx", "two.onnx"):
        evaluation = evaluate(tmp_path / path, fresh)
        assert evaluation.foreign is not None
        assert wilson(int(evaluation.foreign.sum()), len(fresh))[0] <= one.familiarity.reached
        assert evaluation.familiarity is not None
        assert np.abs(evaluation.familiarity).max() <= 1
    known = evaluate(tmp_path / "one.onnx", once)
    assert known.familiarity is not None
    # A photo that the plane was fitted to is as familiar as those that it was judged by, or more.
    assert not is_foreign(float(np.median(known.familiarity)), one.familiarity.threshold)


# Row N3-36: thresholds belong to one file.
def test_another_net_has_its_own_threshold(tmp_path: Path, photos: Dataset) -> None:
    found = []
    for base, seed in (("resnet18", 0), ("resnet18", 1), ("mobilenet_v2", 0)):
        net = small_net(photos.labels, base, seed)
        net.fit_head(photos, photos)
        manifest = net.export(tmp_path / f"{base}-{seed}.onnx")
        assert manifest.familiarity is not None
        found.append(manifest.familiarity.threshold)
        evaluation = evaluate(net, photos)
        assert evaluation.model is not None
        assert evaluation.model.manifest.familiarity == manifest.familiarity
    assert len(set(found)) == 3


def test_fitting_again_takes_the_threshold_of_before_away(tmp_path: Path, photos: Dataset) -> None:
    net = small_net(photos.labels)
    net.fit_head(photos, photos)
    before = net.export(tmp_path / "model.onnx")
    net.fit(photos, photos, [0.01])
    assert evaluate(net, photos).foreign is None  # until it is exported
    after = net.export(tmp_path / "model.onnx")
    assert before.familiarity is not None
    assert after.familiarity is not None
    assert after.familiarity.threshold != before.familiarity.threshold
    evaluation = replace(evaluate(net, photos), images=())
    assert evaluation.foreign is not None
