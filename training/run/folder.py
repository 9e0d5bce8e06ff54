"""The files of a run folder, each whole or not there: what may lie there before, what is written, and read back.

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

import csv
import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from salver.artifact.manifest import Manifest, OutputName
from salver.system.durable import PARTIALS, durable
from salver.system.lock import FOLDER_LOCK
from salver.system.regular_file import read_regular
from salver.text import printable, validation_message
from training.dataset.dataset import Dataset
from training.dataset.reading import own
from training.dataset.reading.own import FIGURES, MODEL, PICTURES, RECORD, TENSORBOARD, WEIGHTS
from training.dataset.reading.table import cells
from training.errors import DatasetError, SettingError
from training.evaluation.evaluate import Evaluation
from training.evaluation.model_file import read_model
from training.evaluation.plots import Plot
from training.export.export import git_revision, package_versions
from training.export.gate import open_session
from training.export.precision import FloatModel
from training.fit.checkpoint import write_tensors
from training.fit.recipe.recipe import Recipe
from training.nets.choice import LAST_LAYERS
from training.nets.nets import PixelNet, on_cpu
from training.progress import Progress
from training.report.report import metrics_of, write_report
from training.report.tensorboard import EVENT_FILES
from training.run.classifier import GATE_PHOTOS, Classifier
from training.run.parts import Parts, split
from training.run.settings import RunSettings

CHECKPOINT = Path(own.CHECKPOINT)
OWN = frozenset([MODEL, RECORD, TENSORBOARD, *PICTURES, *FIGURES, CHECKPOINT.parent.name])
MAX_RECORD_BYTES = 64 * 1024**2
"""Of run.json; that of 100,000 photos left out is smaller."""


@dataclass(frozen=True)
class RunResult:
    """What there is to say at the end."""

    out: Path
    classifier: Classifier
    recipe: Recipe
    val_size: float
    manifest: Manifest
    validation: Evaluation | None
    test: Evaluation
    spent: Mapping[str, float]
    """Seconds by stage."""
    asked: tuple[OutputName, ...]
    """The outputs that the file was to have."""


@dataclass(frozen=True)
class _Record:
    """What is needed of a run's `run.json`."""

    settings: RunSettings
    data_fingerprint: str
    val_size: float | None = None
    """What was taken for validation where the settings left it to the run; runs of earlier versions have none."""


_record = TypeAdapter(_Record)


def is_finished(settings: RunSettings) -> bool:
    """Whether there is nothing left to resume."""
    return settings.resume and (settings.out / RECORD).exists()


def make_room(settings: RunSettings, progress: Progress) -> None:
    """Clear away what a run that was killed left, or what is to be overwritten. Raises SettingError for other files."""
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
        for events in (out / TENSORBOARD).glob(EVENT_FILES):
            events.unlink()


def write_run(result: RunResult, settings: RunSettings, data: Dataset, parts: Parts) -> None:
    """Everything but the model file, which the export wrote; run.json comes last. Raises OSError."""
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
    test = replace(result.test, model=model)
    others = (result.validation, result.classifier.cross_validated)
    validation, cross_validated = (found and replace(found, model=model) for found in others)
    metrics = metrics_of(test, validation, cross_validated)
    write_report(out, test, metrics, history=result.classifier.history)
    run = {
        "command": shlex.join(sys.argv),
        "settings": asdict(settings),
        "val_size": result.val_size,
        "recipe": asdict(result.recipe),
        "resize": manifest.pixels.resize,
        "versions": package_versions(),
        "git_revision": git_revision(),
        "data_fingerprint": data.fingerprint(),
        "trained_on": manifest.provenance.data_fingerprint,
        "counts": data.counts(),
        "left_out": {left_out.image.name: left_out.reason for left_out in data.left_out},
        "seed": settings.seed,
        "seconds": sum(result.spent.values()),
        "spent": dict(result.spent),
        "model_sha256": model.sha256,
        "fingerprints": parts.fingerprints().model_dump(mode="json"),
    }
    write_json(out / RECORD, run)
    (out / CHECKPOINT).unlink(missing_ok=True)


def read_run(folder: Path) -> FloatModel:
    """The model file of a finished run, with its photos split as they were.

    Raises SettingError for a folder without them, ExportRefused for a model file that cannot be loaded, and
    DatasetError when the photos are others than the model was trained on.
    """
    try:
        record = _record.validate_json(read_regular(folder / RECORD, MAX_RECORD_BYTES))
        model, manifest = read_model(folder / MODEL)
        open_session(model)
    except (OSError, ValueError, SettingError) as error:
        raise SettingError(f"{folder} is not the folder of a finished run: {_reason(error)}.") from error
    if manifest.precision != "fp32":
        raise SettingError(f"{folder / MODEL} is {manifest.precision} already. Put the run's own file back.")
    settings = record.settings
    data = Dataset.from_dir(settings.data)
    parts = split(data, settings, record.val_size) if data.fingerprint() == record.data_fingerprint else None
    if parts is None or parts.train.fingerprint() != manifest.provenance.data_fingerprint:
        raise DatasetError(
            f"The photos in {settings.data} are not those of the run any more, so its split cannot be made again. "
            "Train again."
        )
    compared = parts.validation or parts.train.some(GATE_PHOTOS)
    return FloatModel(folder / MODEL, model, manifest, parts.train, compared, parts.unseen)


def _reason(error: Exception) -> str:
    """In one line, of a record that may be anybody's."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        return printable(f"run.json: {where}: {validation_message(first['msg'])}"[:400])
    if isinstance(error, OSError) and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    return printable(str(error).removesuffix("."))


def write_checkpoint(path: Path, net: PixelNet) -> None:
    """The weights under torchvision's names for the whole net, so that `--weights FILE` reads them."""
    trained, last = on_cpu(net).net, LAST_LAYERS[net.net.base]
    head = {f"{last}.{name}": tensor for name, tensor in trained.head.state_dict().items()}
    write_tensors(path, trained.backbone.state_dict() | head, {"base": trained.base})


def write_scores(path: Path, dataset: Dataset, evaluation: Evaluation) -> None:
    """One row an image: path, truth, predicted label (empty without an answer), then the logit of each label."""
    names = (*evaluation.labels, "")  # the last one for NO_ANSWER
    # surrogateescape: a file name that is not UTF-8 goes out as the bytes that it is.
    with durable(path) as partial, partial.open("w", -1, "utf-8", "surrogateescape", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(cells(["path", "truth", "predicted", *evaluation.labels]))
        for image, predicted, logits in zip(dataset.images, evaluation.predictions, evaluation.logits, strict=True):
            row = [format(logit, ".9g") for logit in logits.tolist()]  # 9 digits give float32 back exactly
            writer.writerow([*cells([str(image.path), image.label, names[predicted]]), *row])


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Strict JSON: a number that is not finite is an error, not NaN."""
    with durable(path) as partial:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str)
        partial.write_text(text + "\n", encoding="utf-8")
