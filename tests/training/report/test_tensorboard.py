import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from tests.training.run.test_run import ROOT, settings
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import Interrupted, SettingError
from training.evaluation.evaluate import Evaluation
from training.evaluation.plots import confusion_figure
from training.fit.history import Epoch, History
from training.fit.minibatches import Minibatches
from training.nets.nets import pixel_spec
from training.progress import Silent
from training.report.tensorboard import EVENT_FILES, TensorBoard, worst_figure
from training.run.classifier import Classifier
from training.run.run import train_run

pytestmark = pytest.mark.torch


def events(folder: Path) -> EventAccumulator:
    """What TensorBoard would show of the folder."""
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    read.Reload()
    return read


def series(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(folder).Scalars(tag)]


def classifier(labels: tuple[str, ...]) -> Classifier:
    return Classifier("mobilenet_v2", labels, image_size=64, weights="none", device="cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return photo_folder(tmp_path_factory.mktemp("photos"), {"cup": 5, "bowl": 4})


def fit(photos: Dataset, folder: Path, epochs: int = 3, **wishes: Path | Callable[[], bool]) -> History:
    return classifier(photos.labels).fit(photos, photos, [0.01] * epochs, 4, tensorboard=folder, **wishes)  # type: ignore[arg-type]


def assert_each_epoch_once(folder: Path, history: History) -> None:
    tags = {
        "loss/train": "loss",
        "accuracy/train": "train_accuracy",
        "accuracy/validation": "eval_accuracy",
        "learning rate": "learning_rate",
        "images per second": "images_per_second",
    }
    for tag, name in tags.items():
        steps, values = zip(*series(folder, tag), strict=True)
        assert list(steps) == [epoch.epoch for epoch in history.epochs]
        assert list(values) == pytest.approx([getattr(epoch, name) for epoch in history.epochs], rel=1e-6)


@pytest.mark.slow
def test_a_fit_writes_each_epoch_and_then_what_validation_shows(photos: Dataset, tmp_path: Path) -> None:
    history = fit(photos, tmp_path / "board", epochs=2)
    assert_each_epoch_once(tmp_path / "board", history)
    read = events(tmp_path / "board")
    for tag in ("confusion matrix", "worst images"):
        (shown,) = read.Images(tag)
        assert shown.step == 2
        with Image.open(io.BytesIO(shown.encoded_image_string)) as picture:
            assert picture.size == (shown.width, shown.height)
            assert len(set(picture.convert("L").tobytes())) > 20  # something is drawn
    for label, count in photos.counts().items():
        (curve,) = read.Tensors(f"precision and recall/{label}")
        true_positives, false_positives, *_ = make_ndarray(curve.tensor_proto)
        assert (true_positives[0], false_positives[0]) == (count, 9 - count)  # at threshold 0 every image counts


@pytest.mark.slow
def test_a_resumed_fit_goes_on_in_its_folder_and_writes_no_epoch_twice(photos: Dataset, tmp_path: Path) -> None:
    board, checkpoint = tmp_path / "board", tmp_path / "state.safetensors"
    asked = iter([False] * 5 + [True])  # two steps an epoch: the third epoch is begun
    with pytest.raises(Interrupted):
        fit(photos, board, checkpoint=checkpoint, asked_to_stop=lambda: next(asked))
    assert [step for step, _ in series(board, "loss/train")] == [1, 2]
    with next(board.glob(EVENT_FILES)).open("ab") as file:
        file.write(b"\x20\0\0\0")  # what a kill in the middle of a write leaves
    history = fit(photos, board, checkpoint=checkpoint)
    assert_each_epoch_once(board, history)
    assert fit(photos, board, checkpoint=checkpoint) == history  # nothing is left to do
    assert_each_epoch_once(board, history)
    assert len(events(board).Images("worst images")) == 1


EPOCH = Epoch(1, 0.01, 0.7, 0.5, None, 100.0, 0.0, 1.0)


def test_a_board_that_is_first_asked_for_on_resuming_gets_the_earlier_epochs_too(tmp_path: Path) -> None:
    with TensorBoard(tmp_path / "board") as board:
        board.write([EPOCH, replace(EPOCH, epoch=2)])
        board.write([EPOCH, replace(EPOCH, epoch=2), replace(EPOCH, epoch=3)])
    assert [step for step, _ in series(tmp_path / "board", "loss/train")] == [1, 2, 3]


def test_a_folder_with_another_fits_figures_is_refused_by_name(tmp_path: Path) -> None:
    with TensorBoard(tmp_path / "board") as board:
        board.write([EPOCH, replace(EPOCH, epoch=2)])
    with pytest.raises(SettingError, match="board already holds the figures of another fit"):
        TensorBoard(tmp_path / "board").check([EPOCH])
    TensorBoard(tmp_path / "board").check([EPOCH, EPOCH])
    assert "accuracy/validation" not in events(tmp_path / "board").Tags()["scalars"]


@pytest.mark.parametrize("name", ["file", "file/board", "file/board/deeper"])
def test_a_folder_that_cannot_be_written_is_one_error_before_the_first_epoch(
    photos: Dataset, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingError, match=rf"cannot be written to {tmp_path / name}.*Name another folder") as caught:
        fit(photos, tmp_path / name, checkpoint=tmp_path / "state.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "state.safetensors").exists()


def test_a_board_without_a_folder_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with TensorBoard(None) as board:
        board.check([])
        board.write([EPOCH])
    assert list(tmp_path.iterdir()) == []


def test_the_svm_way_shows_what_validation_says_and_no_epochs(photos: Dataset, tmp_path: Path) -> None:
    classifier(photos.labels).fit_head(photos, photos, tensorboard=tmp_path / "board")
    tags = events(tmp_path / "board").Tags()
    assert (tags["scalars"], tags["images"]) == ([], ["confusion matrix", "worst images"])
    with pytest.raises(SettingError, match="another fit"):
        classifier(photos.labels).fit_head(photos, photos, tensorboard=tmp_path / "board")


def test_the_worst_images_come_in_the_order_of_their_loss_whatever_they_are_called(photos: Dataset) -> None:
    labels = ("$bowl_$", "a cup of a name that is far too long to fit")
    truths = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    logits = np.zeros((9, 2), np.float32)
    logits[:, 0] = [9, 9, -2, 9, -9, -9, 1, np.nan, -9]
    evaluation = Evaluation(labels, logits, truths)
    images = Minibatches(photos, photos.labels, pixel_spec(64))
    titles = [axes.get_title() for axes in worst_figure(evaluation, photos, images).axes]
    assert len(titles) == 9
    assert titles[0].startswith("a cup of a name that … → no answer\nloss inf\n")
    assert titles[1] == f"$bowl_$ → a cup of a name that …, 0.88\nloss 2.13\n{photos.images[2].path.name}"
    assert titles[2].startswith("a cup of a name that … → $bowl_$, 0.73\nloss 1.31")
    figure = confusion_figure(evaluation, "9 images")
    figure.savefig(io.BytesIO(), format="png")  # "$bowl_$" is no formula
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["$bowl_$", "a cup of a name that is f…"]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "1", "3"]


def test_the_worst_images_are_at_most_sixteen(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path, {"cup": 10, "bowl": 10})
    evaluation = Evaluation(photos.labels, np.zeros((20, 2), np.float32), np.zeros(20, np.int64))
    assert len(worst_figure(evaluation, photos, Minibatches(photos, photos.labels, pixel_spec(64))).axes) == 16


class EndedBeforeTheExport(Silent):
    """Ctrl-C when the fit is done, with which its board is."""

    def report(self, line: str) -> None:
        if line.startswith("exporting"):
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_board_in_the_run_folder_goes_with_the_run(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    board = tmp_path / "out" / "tensorboard"
    wanted = replace(settings(tmp_path / "photos", tmp_path / "out"), tensorboard=board)
    for run in (wanted, replace(wanted, overwrite=True)):
        with pytest.raises(KeyboardInterrupt):
            train_run(run, EndedBeforeTheExport())
        assert len(list(board.glob(EVENT_FILES))) == 1
    assert [step for step, _ in series(board, "loss/train")] == [1]


@pytest.mark.parametrize("name", ["", "board", "checkpoint/board"])
def test_a_board_elsewhere_in_the_run_folder_is_refused(tmp_path: Path, name: str) -> None:
    wanted = replace(settings(tmp_path / "photos", tmp_path / "out"), tensorboard=tmp_path / "out" / name)
    with pytest.raises(SettingError, match=r"name it .*out/tensorboard"):
        train_run(wanted, Silent())


@pytest.mark.slow
@pytest.mark.soak
def test_of_two_processes_one_writes(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    words = ["training", "photos", "--out", "out", "--weights", "none", "--base", "mobilenet_v2", "--image-size", "64"]
    result = subprocess.run(
        [*launcher, *words, "--epochs", "1", "--device", "cpu", "--tensorboard", "board"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "board").glob(EVENT_FILES))) == 1
    assert [step for step, _ in series(tmp_path / "board", "loss/train")] == [1]
    assert len(events(tmp_path / "board").Images("worst images")) == 1


@pytest.mark.soak
def test_tensorboard_and_matplotlib_are_not_imported_unless_asked_for() -> None:
    code = (
        "import sys, training.run.classifier, training.cli.said.output, training.cli.train\n"
        "with training.run.classifier.TensorBoard(None): pass\n"
        "print([name for name in ('matplotlib', 'tensorboard', 'torch.utils.tensorboard') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
