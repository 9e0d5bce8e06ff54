"""One run of `salver train`: from a folder of photos to a folder with the model file and everything about it.

RUN/model.onnx                       what the service needs, and all that it needs
RUN/checkpoint/weights.safetensors   the trained net in torchvision's names: another run's --weights
RUN/checkpoint/state.safetensors     while it trains: what --resume goes on from
RUN/history.json                     the epochs
RUN/history.png, history.svg         their accuracies as a picture; none for an SVM, which has no epochs
RUN/metrics.json                     all figures of test and validation, with intervals; parity figures
RUN/report.html                      the same to look at, with the test images
RUN/scores.csv                       logits of every test image, as torch gave them
RUN/tensorboard/                     where --tensorboard may point
RUN/run.json                         settings, versions, data, seed, times; written last
"""

import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from salver.artifact.manifest import Manifest
from salver.messages import speaks
from salver.system.durable import PARTIALS
from salver.system.lock import FOLDER_LOCK
from salver.text import printable
from training.dataset.check import OnBad, checked
from training.dataset.dataset import Dataset
from training.dataset.reading.layout import PARTS
from training.dataset.reading.own import BOARD, MODEL, PICTURES, RECORD, STATE, WEIGHTS
from training.dataset.reading.places import alone, refuse_inside
from training.errors import Interrupted, SettingError
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.plots import Plot
from training.evaluation.thresholds import check_thresholds
from training.export.export import git_revision, package_versions
from training.fit.device import Device, MixedPrecision
from training.fit.recipe import ClassWeights, Recipe, check_weights, default_recipe
from training.nets.linear import DEFAULT_C
from training.nets.nets import Resize, check_base, pixel_spec
from training.progress import Progress
from training.ranges import SEED, SVM_C, check_shares
from training.report.report import metrics_of, write_report
from training.report.tensorboard import EVENT_FILES
from training.run.classifier import Classifier, Head
from training.run.folder import write_checkpoint, write_json, write_scores
from training.run.interrupt import Interruption
from training.run.parts import Parts

CHECKPOINT = Path("checkpoint", STATE)
FIGURES = ("history.json", "metrics.json", "report.html", "scores.csv")
OWN = frozenset([MODEL, RECORD, BOARD, *PICTURES, *FIGURES, CHECKPOINT.parent.name])


@dataclass(frozen=True)
class RunSettings:
    """What `salver train` was asked for; `test_size` and `val_size` are shares of the whole data set."""

    data: Path
    out: Path
    base: str
    weights: str
    image_size: tuple[int, int]
    resize: Resize | Literal["auto"] = "auto"
    head: Head = "softmax"
    svm_c: float = DEFAULT_C
    recipe: Recipe | None = None
    """None takes the default for the weights."""
    class_weights: ClassWeights = "none"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    test_size: float = 0.33
    val_size: float = 0.1
    device: Device = "auto"
    mixed_precision: MixedPrecision = "auto"
    compiled: bool = False
    tensorboard: Path | None = None
    overwrite: bool = False
    resume: bool = False
    on_bad: OnBad = "error"
    """What happens to images that cannot be read."""
    split_file: Path | None = None
    """As `salver split` writes it; it stands in for the two shares."""

    def __post_init__(self) -> None:
        """Raises SettingError for a number that cannot be meant."""
        pixel_spec(self.image_size)
        SEED.check(self.seed)
        SVM_C.check(self.svm_c)
        check_weights(self.class_weights)
        check_thresholds(self.thresholds)
        check_shares(test_size=self.test_size, val_size=self.val_size)


@dataclass(frozen=True)
class RunResult:
    """What there is to say at the end."""

    out: Path
    classifier: Classifier
    manifest: Manifest
    validation: Evaluation
    test: Evaluation
    seconds: float


def train_run(settings: RunSettings, progress: Progress) -> RunResult | None:
    """Train, evaluate, export and write the run folder. Raises TrainingError, and OSError for a file it cannot write.

    With `overwrite`, each file of an earlier run stands until this run's own takes its place at the end. With
    `resume`, the run goes on from its checkpoint; None when it is finished already. One run at a time writes to a
    folder: SettingError names the process that has it. Of several processes that train
    together, one exports, writes and gives the result; the others give None.
    """
    if not speaks():  # the first process holds the lock for all of them, and looks at what lies there
        return None if _is_finished(settings) else _train(settings, progress)
    _check_place(settings)
    with alone(settings.out):
        if _is_finished(settings):
            progress.report(f"The run in {settings.out} is finished, so there is nothing to resume.")
            return None
        _check_content(settings, progress)
        return _train(settings, progress)


def _train(settings: RunSettings, progress: Progress) -> RunResult | None:
    start = time.perf_counter()
    data = Dataset.from_dir(settings.data)
    check_weights(settings.class_weights, data.labels)
    check_thresholds(settings.thresholds, data.labels)
    data = checked(data, settings.on_bad, settings.image_size, progress)
    parts = split(data, settings)
    for line in describe(data, parts):
        progress.report(line)
    if settings.split_file is not None and data.parts():
        progress.report(f"{printable(settings.split_file)} says which photo is in which part, not the folders")
    classifier = _fit(settings, parts, progress)
    validation, test = evaluate(classifier, parts.validation), evaluate(classifier, parts.test)
    classifier.part()
    if not classifier.is_main_process:
        return None
    progress.report("exporting, and comparing the file with the net …")
    metrics = {"test_accuracy": test.accuracy, "test_class_averaged_accuracy": test.class_averaged_accuracy}
    manifest = classifier.export(settings.out / MODEL, parts.validation, metrics, settings.thresholds, validation)
    result = RunResult(settings.out, classifier, manifest, validation, test, time.perf_counter() - start)
    _write(result, settings, data, parts)
    return result


def split(data: Dataset, settings: RunSettings) -> Parts:
    """As the split file says, as the folders are, or by shares.

    Raises SettingError, and DatasetError when a label has nothing to train on or a part no images.
    """
    if settings.split_file is not None:
        return _parts_of_file(settings.split_file, data)
    return Parts(*data.split_as_given(settings.val_size, settings.test_size, seed=settings.seed))


def _parts_of_file(path: Path, data: Dataset) -> Parts:
    parts = data.read_split(path)
    if empty := [part for part in PARTS if part not in parts]:
        raise SettingError(f"{path} has no images for the part {' and '.join(empty)}. Split again.")
    return Parts(parts["train"], parts["validation"], parts["test"])


def describe(data: Dataset, parts: Parts) -> list[str]:
    """What was found and how it was split, as lines to print."""
    sizes = ", ".join(f"{sum(counts.values())} {name}" for name, counts in parts.counts().items())
    return [*data.summary().splitlines(), f"split into {sizes}", *parts.remarks()]


def _is_finished(settings: RunSettings) -> bool:
    return settings.resume and (settings.out / RECORD).exists()


def _check_place(settings: RunSettings) -> None:
    check_base(settings.base, settings.weights)
    out = settings.out
    if out.exists() and not out.is_dir():
        raise SettingError(f"The run folder {out} is a file. Name another folder with --out.")
    if settings.tensorboard is not None:
        _check_board(settings.tensorboard, out)
        refuse_inside(settings.data, settings.tensorboard, "The TensorBoard folder")
    refuse_inside(settings.data, out, "The run folder")


def _check_content(settings: RunSettings, progress: Progress) -> None:
    out = settings.out
    if settings.resume:
        if not (out / CHECKPOINT).exists():
            progress.report(
                f"there is no checkpoint in {printable(out)}, so there is nothing to go on from: the run begins anew"
            )
        for partial in out.rglob(PARTIALS):  # of a process that was killed while it wrote
            partial.unlink()
    known = {FOLDER_LOCK} | (OWN if settings.resume else set())
    if not settings.overwrite and any(path.name not in known for path in out.iterdir()):
        raise SettingError(
            f"The run folder {out} is not empty. Name another, add --overwrite, or go on with a run that was "
            "interrupted with --resume."
        )
    if settings.overwrite and not settings.resume:
        (out / CHECKPOINT).unlink(missing_ok=True)
        for events in (out / BOARD).glob(EVENT_FILES):
            events.unlink()


def _check_board(board: Path, out: Path) -> None:
    inside = board.resolve().is_relative_to(out.resolve())
    if inside and board.resolve().relative_to(out.resolve()).parts[:1] != (BOARD,):
        raise SettingError(f"The TensorBoard folder {board} lies in the run folder: name it {out / BOARD}.")


def _fit(settings: RunSettings, parts: Parts, progress: Progress) -> Classifier:
    classifier = Classifier(
        settings.base,
        parts.train.labels,
        image_size=settings.image_size,
        weights=settings.weights,
        seed=settings.seed,
        resize=settings.resize,
        device=settings.device,
        mixed_precision=settings.mixed_precision,
        compiled=settings.compiled,
    )
    if settings.head == "svm":
        classifier.fit_head(
            parts.train,
            parts.validation,
            c=settings.svm_c,
            class_weights=settings.class_weights,
            seed=settings.seed,
            tensorboard=settings.tensorboard,
            progress=progress,
        )
        return classifier
    with Interruption() as interruption:
        try:
            classifier.fit(
                parts.train,
                parts.validation,
                recipe=settings.recipe,
                class_weights=settings.class_weights,
                seed=settings.seed,
                checkpoint=settings.out / CHECKPOINT,
                tensorboard=settings.tensorboard,
                asked_to_stop=interruption.asked,
                progress=progress,
            )
        except Interrupted as error:
            error.signal = interruption.signal or error.signal
            raise
    return classifier


def _write(result: RunResult, settings: RunSettings, data: Dataset, parts: Parts) -> None:
    out, manifest, net = result.out, result.manifest, result.classifier.net
    write_checkpoint(out / "checkpoint" / WEIGHTS, net)
    write_json(out / "history.json", {"epochs": [asdict(epoch) for epoch in result.classifier.history.epochs]})
    if result.classifier.history.epochs:
        Plot(result.classifier.history.plot()).save(out / "history")
    else:
        for picture in PICTURES:
            (out / picture).unlink(missing_ok=True)  # an earlier run's
    write_scores(out / "scores.csv", parts.test, result.test)
    model = result.classifier.exported
    assert model is not None
    test, validation = replace(result.test, model=model), replace(result.validation, model=model)
    write_report(out, test, metrics_of(test, validation), history=result.classifier.history)
    run = {
        "command": shlex.join(sys.argv),
        "settings": asdict(settings),
        "recipe": asdict(settings.recipe or default_recipe(net.net.weights)),
        "resize": manifest.pixels.resize,
        "versions": package_versions(),
        "git_revision": git_revision(),
        "data_fingerprint": data.fingerprint(),
        "counts": data.counts(),
        "left_out": {left_out.image.name: left_out.reason for left_out in data.left_out},
        "seed": settings.seed,
        "seconds": result.seconds,
        "model_sha256": model.sha256,
    }
    write_json(out / RECORD, run)
    (out / CHECKPOINT).unlink(missing_ok=True)
