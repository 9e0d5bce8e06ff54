"""Nothing is lost: a run that was stopped, or killed at any moment, goes on and ends as if it had not been."""

import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from salver.cli import build
from tests.support.images import photo
from tests.training.run.test_run import ROOT, settings
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import DatasetError, Interrupted, SettingError
from training.fit.checkpoint import Checkpoint
from training.fit.history import History
from training.fit.minibatches import Minibatches
from training.fit.recipe.recipe import GENTLE, LAST_BLOCKS, Changes, Recipe
from training.fit.recipe.schedule import Stepwise
from training.fit.state import FitState
from training.nets.nets import PixelNet, build_net
from training.progress import Silent
from training.run.classifier import Classifier
from training.run.folder import CHECKPOINT
from training.run.run import train_run
from training.run.settings import RunSettings

pytestmark = [pytest.mark.torch, pytest.mark.slow]

# With dropout, a head fitted first, frozen statistics, mirrored images, a warm-up and an average at the end.
RECIPE = Changes(epochs=4, batch_size=4).applied(GENTLE)
BY_FOLDS = replace(Changes(epochs=2, batch_size=4).applied(LAST_BLOCKS), views=2, folds=3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return photo_folder(tmp_path_factory.mktemp("photos"), {"cup": 6, "bowl": 6})


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(build_net("mobilenet_v2", 2, "none").backbone.state_dict(), path)
    return path


def fitted(
    photos: Dataset,
    backbone: Path,
    checkpoint: Path | None,
    steps: int = 1000,
    asked_to_stop: Callable[[], bool] | None = None,
    recipe: Recipe = RECIPE,
) -> Classifier:
    """Asked to stop after so many steps of this process, or by `asked_to_stop`."""
    countdown = iter(range(steps, -1, -1))
    asked_to_stop = asked_to_stop or (lambda: next(countdown) <= 1)
    cache = backbone.parent / "features.sqlite"
    labels, side, weights = photos.labels, 64, str(backbone)
    classifier = Classifier("mobilenet_v2", labels, side, weights, resize="crop", device="cpu", cache=cache)
    classifier.fit(photos, photos, recipe=recipe, checkpoint=checkpoint, asked_to_stop=asked_to_stop, seed=1)
    return classifier


def weights(classifier: Classifier) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in classifier.net.state_dict().values()])


def figures(history: History) -> list[tuple[float, ...]]:
    """Without those that depend on the machine's mood."""
    return [
        (one.epoch, one.learning_rate, one.loss, one.train_accuracy, one.eval_accuracy or 0) for one in history.epochs
    ]


def test_ds12_a_run_that_stopped_in_the_middle_of_an_epoch_ends_as_one_that_did_not(
    photos: Dataset, backbone: Path, tmp_path: Path
) -> None:
    straight = fitted(photos, backbone, None)
    stops = 0
    for steps in (1, 4, 3, 1000):  # in the first epoch, in a later one, at the end of one
        try:
            resumed = fitted(photos, backbone, tmp_path / "state.safetensors", steps)
        except Interrupted:
            stops += 1
    assert stops == 3
    assert (weights(straight) - weights(resumed)).abs().max() <= 1e-6
    assert [pytest.approx(one, abs=1e-6) for one in figures(straight.history)] == figures(resumed.history)
    assert len(resumed.history.epochs) == 4


def test_a_fit_by_folds_that_stopped_in_any_fold_ends_as_one_that_did_not(
    photos: Dataset, backbone: Path, tmp_path: Path
) -> None:
    straight = fitted(photos, backbone, None, recipe=BY_FOLDS)
    stops = 0
    for steps in (1, 4, 3, 1000):  # in the first fold, at the end of an epoch, in a later fold
        try:
            resumed = fitted(photos, backbone, tmp_path / "state.safetensors", steps, recipe=BY_FOLDS)
        except Interrupted:
            stops += 1
    assert stops == 3
    assert (weights(straight) - weights(resumed)).abs().max() <= 1e-6
    assert [pytest.approx(one, rel=1e-3, abs=1e-6) for one in figures(straight.history)] == figures(resumed.history)
    first, second = straight.cross_validated, resumed.cross_validated
    assert first is not None
    assert second is not None
    assert abs(first.logits - second.logits).max() <= 1e-3 * abs(first.logits).max()
    assert len(first.truths) == len(photos)


def test_a_fit_that_was_done_is_not_done_again(photos: Dataset, backbone: Path, tmp_path: Path) -> None:
    first = fitted(photos, backbone, tmp_path / "state")
    again = fitted(photos, backbone, tmp_path / "state", steps=1)  # it would stop at its first step
    assert torch.equal(weights(first), weights(again))


def test_a_checkpoint_of_another_run_is_refused_by_what_differs(
    photos: Dataset, backbone: Path, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        fitted(photos, backbone, tmp_path / "state", steps=1)
    other = Classifier("mobilenet_v2", photos.labels, 64, str(backbone), resize="crop", device="cpu")
    with pytest.raises(SettingError, match="another recipe and another seed"):
        other.fit(photos, photos, recipe=replace(RECIPE, weight_decay=0.5), checkpoint=tmp_path / "state", seed=2)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint" * 10])
def test_a_file_that_is_no_checkpoint_is_refused_with_advice(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").write_bytes(content)
    fit = FitState(PixelNet(build_net("resnet18", 2, "none")), Recipe(Stepwise((0.1,))), 0)
    with pytest.raises(SettingError, match="Remove it to start anew"):
        Checkpoint(tmp_path / "state", {}, {}).load(fit)


@pytest.mark.parametrize(("old", "new"), [(b"running_mean", b"running_mXan"), (b"optimizer.0.", b"optimizer.x."),
                                         (b"optimizer.1.", b"optimizer.9."), (b'"F32"', b'"F16"')])  # fmt: skip
def test_a_damaged_checkpoint_is_refused_with_advice(
    photos: Dataset, backbone: Path, tmp_path: Path, old: bytes, new: bytes
) -> None:
    with pytest.raises(Interrupted):
        fitted(photos, backbone, tmp_path / "state", steps=2)
    (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes().replace(old, new, 1))
    with pytest.raises(SettingError, match="Remove it to start anew"):
        fitted(photos, backbone, tmp_path / "state")


def test_ds13_a_full_disk_ends_the_run_and_the_checkpoint_before_still_loads(
    photos: Dataset, backbone: Path, tmp_path: Path
) -> None:
    """The kernel's limit on a file's size stands in for the disk's end: the same error at the same call."""
    checkpoint = tmp_path / "state.safetensors"
    with pytest.raises(Interrupted):
        fitted(photos, backbone, checkpoint, steps=2)
    kept = checkpoint.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        with pytest.raises(OSError, match=re.escape(str(checkpoint))):
            fitted(photos, backbone, checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]
    assert len(fitted(photos, backbone, checkpoint).history.epochs) == 4


def test_a_checkpoint_that_was_read_is_not_held_on_the_disk(photos: Dataset, backbone: Path, tmp_path: Path) -> None:
    """Pages of the file would keep its place when the next is written beside it: 1.5 times the disk of the run."""
    with pytest.raises(Interrupted):
        fitted(photos, backbone, tmp_path / "state", steps=2)
    held = []

    def asked_to_stop() -> bool:
        held.append("/state" in Path("/proc/self/maps").read_text())
        return False

    fitted(photos, backbone, tmp_path / "state", asked_to_stop=asked_to_stop)
    assert held
    assert not any(held)


SMALL_DISK = """
import resource, sys
from pathlib import Path
from tests.training.run.test_resume import fitted
from training.dataset.dataset import Dataset
from training.errors import Interrupted

photos, backbone, disk = Dataset.from_dir(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
fitted(photos, backbone, disk / "straight" / "state")
(disk / "straight" / "state").unlink()
try:
    fitted(photos, backbone, disk / "resumed" / "state", steps=4)
except Interrupted:
    print(len(fitted(photos, backbone, disk / "resumed" / "state").history.epochs))
"""


def test_a_resume_needs_no_more_disk_than_the_run(photos: Dataset, backbone: Path, tmp_path: Path) -> None:
    """A disk of 85 MB, on which a run with checkpoints of 36 MB comes to its end, is enough for going on with it."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "script.py").write_text(SMALL_DISK)
    assert photos.root is not None
    words = [sys.executable, str(tmp_path / "script.py"), str(photos.root), str(backbone), str(tmp_path / "disk")]
    mounted = 'mount -t tmpfs -o size=85m tmpfs "$1" && shift && exec "$@"'
    apart = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        mounted,
        "sh",
        str(tmp_path / "disk"),
        *words,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(apart, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "4\n"), ended.stderr


def test_a_checkpoint_of_other_photos_names_those_that_changed(backbone: Path, tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    bytes_name = tmp_path / "photos" / "cup" / b"caf\xe9.jpg".decode(errors="surrogateescape")
    (tmp_path / "photos" / "cup" / "007.jpg").rename(bytes_name)
    photos = Dataset.from_dir(tmp_path / "photos")
    with pytest.raises(Interrupted):
        fitted(photos, backbone, tmp_path / "state", steps=1)
    (tmp_path / "photos" / "cup" / "000.jpg").unlink()
    bytes_name.unlink()
    (tmp_path / "photos" / "cup" / "001.jpg").write_bytes(photo(96, 80, 300))
    (tmp_path / "photos" / "cup" / "002.jpg").rename(tmp_path / "photos" / "bowl" / "new.jpg")
    for number in range(5):
        (tmp_path / "photos" / "bowl" / f"a{number}.jpg").write_bytes(photo(96, 80, 301 + number))
    (tmp_path / "photos" / "annotations.csv").write_text("path,label,flag,note\nbowl/003.jpg,cup,,\n")
    with pytest.raises(SettingError) as caught:
        fitted(Dataset.from_dir(tmp_path / "photos"), backbone, tmp_path / "state")
    first, *lines = str(caught.value).splitlines()
    assert "is of a run with other photos. Go on with what it was begun with, or start anew without --resume" in first
    assert lines == [
        "  6 photos new among the training photos: bowl/a0.jpg (bowl), bowl/a1.jpg (bowl), bowl/a2.jpg (bowl), …",
        "  3 photos no longer among them: cup/000.jpg (cup), cup/002.jpg (cup), cup/caf\\udce9.jpg (cup)",
        "  1 photo with another label: bowl/003.jpg (cup, was bowl)",
        "  1 photo with other content: cup/001.jpg",
    ]
    (tmp_path / "photos" / "mug").mkdir()
    (tmp_path / "photos" / "mug" / "000.jpg").write_bytes(photo(96, 80, 400))
    with pytest.raises(
        SettingError, match=r"other labels, other class weights and other photos.*\n  new labels: mug\n"
    ):
        fitted(Dataset.from_dir(tmp_path / "photos"), backbone, tmp_path / "state")


def test_a_renamed_photo_is_the_same_photo(backbone: Path, tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", {"cup": 6, "bowl": 6})
    with pytest.raises(Interrupted):
        fitted(photos, backbone, tmp_path / "state", steps=1)
    (tmp_path / "photos" / "cup" / "000.jpg").rename(tmp_path / "photos" / "cup" / "0000.jpg")
    assert len(fitted(Dataset.from_dir(tmp_path / "photos"), backbone, tmp_path / "state").history.epochs) == 4


@pytest.mark.prove
@pytest.mark.timeout(300)
def test_a_run_that_an_image_ended_goes_on_when_the_image_is_mended(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """A set that is too large for memory; of one that fits into it no file is read again."""
    monkeypatch.setattr("training.run.classifier.Minibatches", partial(Minibatches, memory_budget_bytes=0))
    photos = photo_folder(tmp_path / "photos", {"cup": 6, "bowl": 6})
    straight = fitted(photos, backbone, None)
    bad = photos.images[2].path
    sound, steps = bad.read_bytes(), 0

    def asked_to_stop() -> bool:
        nonlocal steps
        steps += 1
        if steps == 5:  # in the second epoch of three steps
            bad.write_bytes(b"no more")
        return False

    with pytest.raises(DatasetError, match=re.escape(str(bad))):
        fitted(photos, backbone, tmp_path / "state", asked_to_stop=asked_to_stop)
    bad.write_bytes(sound)
    resumed = fitted(photos, backbone, tmp_path / "state", asked_to_stop=asked_to_stop)
    assert (weights(straight) - weights(resumed)).abs().max() <= 1e-6
    assert steps < 4 * 3 + 5  # the first epoch was not done again
    record_property("tried", "one image that goes bad in the second epoch")
    record_property("lost", "the steps of that epoch, until the image is mended")


def run_to_its_end(run: RunSettings) -> None:
    """In a process of its own, which is killed."""
    train_run(run, Silent())


@pytest.mark.parametrize(
    ("kills", "base"),
    [
        (1, "resnet18"),  # its export takes half the time
        pytest.param(20, "mobilenet_v2", marks=[pytest.mark.soak, pytest.mark.prove, pytest.mark.timeout(900)]),
    ],
)
def test_kill_9_at_random_moments_leaves_a_run_that_can_be_resumed(
    tmp_path: Path, kills: int, base: str, record_property: Callable[[str, object], None]
) -> None:
    torch.manual_seed(3)
    torch.save(build_net(base, 2, "none").backbone.state_dict(), tmp_path / "weights.pt")
    photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    recipe = Changes(epochs=kills + 2).applied(RECIPE)
    run = replace(settings(tmp_path / "photos", tmp_path / "out"), base=base, weights=str(tmp_path / "weights.pt"))
    run = replace(run, recipe=recipe, resize="crop", resume=True)
    straight = replace(run, out=tmp_path / "straight")
    train_run(straight, Silent())
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["training.run.run"])
    moments = random.Random(0)
    killed = 0
    for _ in range(kills):
        process = processes.Process(target=run_to_its_end, args=(run,))
        process.start()
        process.join(moments.uniform(0.5, 2.5))
        killed += process.is_alive()
        process.kill()
        process.join()
        if (tmp_path / "out" / "run.json").exists():
            break
    else:
        train_run(run, Silent())
    assert killed  # on a fast machine a run may end before it is killed again
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "run.json" in names
    assert not any("partial" in name or name == str(CHECKPOINT) for name in names)
    ours, theirs = (load_file(out / "checkpoint" / "weights.safetensors") for out in (run.out, straight.out))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) <= 1e-6
    record_property("tried", f"{killed} times kill -9")
    record_property("lost", "nothing; the weights are those of a run that was not killed")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.soak)]
)
def test_a_signal_ends_a_run_with_the_command_that_goes_on_with_it(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    words = [str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--weights", "none", "--image-size", "64"]
    command = [sys.executable, "-m", "training", *words, "--epochs", "500"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("epoch"))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert re.fullmatch(r"Stopped after epoch \d+, step \d+ of the next one\. Go on with: .* --resume\n", errors)
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["state.safetensors"]
    refused = CliRunner().invoke(build("train"), ["train", *words, "--epochs", "3", "--resume"])
    assert (refused.exit_code, type(refused.exception)) == (1, SystemExit)
    assert "another recipe" in refused.stderr


class Heard(Silent):
    """Keeps what it is told to report."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("held", [(), ("checkpoint/state.safetensors",), ("run.json",)])
def test_a_resume_without_a_checkpoint_says_that_it_begins_anew(tmp_path: Path, held: tuple[str, ...]) -> None:
    """No error: a Kubernetes job gives --resume from its first start on. There are no photos, so nothing trains."""
    for name in held:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"")
    heard, wanted = Heard(), settings(tmp_path / "no photos", tmp_path / "out")
    said = f"there is no checkpoint in {tmp_path / 'out'}, so there is nothing to go on from: the run begins anew"
    if held == ("run.json",):
        assert train_run(replace(wanted, resume=True), heard) is None
        assert heard.lines == [f"The run in {tmp_path / 'out'} is finished, so there is nothing to resume."]
        return
    with pytest.raises(DatasetError, match="Cannot read"):
        train_run(replace(wanted, resume=True), heard)
    assert heard.lines == ([] if held else [said])
    if not held:
        with pytest.raises(DatasetError, match="Cannot read"):
            train_run(wanted, heard)
        assert heard.lines == [said]
