"""Another precision of a finished run: an int8 or float16 file beside the float one, through the same gate."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from salver.artifact.bounds.model_bytes import only_outputs
from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME, Manifest
from salver.system.durable import durable
from salver.text import counted
from training.dataset.dataset import Dataset
from training.dataset.reading.places import refuse_inside
from training.errors import ExportRefused, SettingError
from training.evaluation.evaluate import Evaluation
from training.evaluation.model_file import Answers, answer, one_thread
from training.export.fp16 import rounded, to_fp16
from training.export.gate import Expected, check_file, measure_parity, open_session, run, tolerance
from training.export.int8 import CALIBRATION_IMAGES, calibration_part, to_int8
from training.export.reference import measure_reference
from training.export.test_card import signed_again
from training.fit.features.familiarity import fit_familiarity, judged_photos
from training.fit.minibatches import Minibatches
from training.progress import Progress
from training.ranges import ACCURACY_LOSS

Precision = Literal["fp16", "int8"]

SPEED_IMAGES, SPEED_ROUNDS = 12, 5
FP16_TOLERANCE = 0.03
"""Of the largest logit, or of 1: how far float16 may move a logit. docs/training.md has what was measured."""


@dataclass(frozen=True)
class Comparison:
    """The file of another precision beside the float one, on the validation images."""

    path: Path
    precision: Precision
    before: Evaluation
    after: Evaluation
    """For fp16 as a GPU answers, which rounds every result; see `training.export.fp16`."""
    speed_ratio: float
    """Images a second over the float file's, one image and one thread at a time, on this machine's processor."""

    @property
    def changed(self) -> int:
        """Images whose best label is another one."""
        return int((self.before.predictions != self.after.predictions).sum())


@dataclass(frozen=True)
class _Attempt:
    """A graph that may become the file: what it answers here, and what the gate judges (`Comparison.after`)."""

    graph: onnx.ModelProto
    here: Evaluation
    judged: Evaluation


@dataclass(frozen=True)
class FloatModel:
    """The model file of a run as it was read from `path`, and the run's photos: those that it learnt from, those that
    the files are compared on (of training where there is no validation), and all that it did not learn from.
    """

    path: Path
    data: bytes
    manifest: Manifest
    train: Dataset
    validation: Dataset
    unseen: Dataset

    def images(self, dataset: Dataset) -> Minibatches:
        """As the model sees them."""
        return Minibatches(dataset, self.manifest.labels, self.manifest.pixels)


def export_precision(
    model: FloatModel, precision: Precision, out: Path, *, max_accuracy_loss: float, progress: Progress
) -> Comparison:
    """Write `model` to `out` in another precision, for which training images give the ranges of numbers.

    "int8" has int8 weights per channel and uint8 activations, "fp16" has float16 for both. Raises SettingError for a
    place that cannot be meant, and ExportRefused when validation accuracy falls by more than `max_accuracy_loss` or the
    gate finds a fault; `out` is then not written.
    """
    ACCURACY_LOSS.check(max_accuracy_loss)
    if out.exists() and out.samefile(model.path):
        raise SettingError(f"{out} is the float file that the {precision} one is made from. Name another with --out.")
    if model.train.root is not None:
        refuse_inside(model.train.root, out, "The model file")
    manifest, validation = model.manifest, model.images(model.validation)
    before = _evaluate(open_session(model.data), validation, manifest.labels)
    progress.report(f"calibrating on {counted(min(len(model.train), CALIBRATION_IMAGES), 'training image')} …")
    calibration = model.images(calibration_part(model.train))
    with tempfile.TemporaryDirectory() as folder:
        # onnxruntime reads paths: this is the file that was read, whatever gets its name in the folder of the run.
        source = Path(folder, "float.onnx")
        source.write_bytes(model.data)
        attempts = _attempts(source, precision, calibration, validation, labels=manifest.labels)
        attempt = _choose(attempts, precision, before, max_accuracy_loss)
    if precision == "fp16":
        _check_logits(before, attempt.judged)
    if manifest.familiarity is not None:
        manifest = _judged_anew(attempt.graph, model, progress)
    changed = _manifest(manifest, precision, attempt, validation=validation, before=before)
    reference = measure_reference(attempt.graph.SerializeToString(), changed, model.unseen)
    changed = changed.model_copy(update={"reference": reference})
    onnx.helper.set_model_props(attempt.graph, changed.to_metadata())
    with durable(out) as partial:
        partial.write_bytes(attempt.graph.SerializeToString())
        check_file(partial, changed, model.validation, attempt.here)
    return Comparison(out, precision, before, attempt.judged, speed_ratio(model.data, out.read_bytes(), validation))


def _attempts(
    source: Path, precision: Precision, calibration: Minibatches, validation: Minibatches, *, labels: Sequence[str]
) -> Iterator[_Attempt]:
    """The fastest first."""
    if precision == "fp16":
        graph = to_fp16(source, calibration)
        here = _evaluate(open_session(graph.SerializeToString()), validation, labels)
        yield _Attempt(graph, here, _evaluate(_elsewhere(graph, precision), validation, labels))
        return
    for first_in_float in (False, True):
        graph = to_int8(source, calibration, first_in_float=first_in_float)
        here = _evaluate(open_session(graph.SerializeToString()), validation, labels)
        yield _Attempt(graph, here, here)


def _choose(
    attempts: Iterator[_Attempt], precision: Precision, before: Evaluation, max_accuracy_loss: float
) -> _Attempt:
    """The first that loses no more than it may. Raises ExportRefused."""
    for attempt in attempts:
        after = attempt.judged
        if round(before.accuracy - after.accuracy, 9) <= max_accuracy_loss:
            return attempt
    changed = int((before.predictions != after.predictions).sum())
    raise ExportRefused(
        f"As {precision} the validation accuracy is {after.accuracy:.4f} and was {before.accuracy:.4f}: more than "
        f"{max_accuracy_loss:g} is lost, and {changed} of {counted(len(after.truths), 'image')} have another best "
        "label. Raise --max-accuracy-loss, or stay with the float file."
    )


def _check_logits(before: Evaluation, after: Evaluation) -> None:
    allowed = tolerance(before.logits, FP16_TOLERANCE)
    largest = _largest_difference(before, after)
    if after.non_finite:
        raise ExportRefused(
            f"As fp16 {after.non_finite} of {len(after.truths)} validation images get no finite answer: numbers inside "
            "the net exceed 65504, the largest of float16. Export int8, or stay with the float file."
        )
    if largest > allowed:
        raise ExportRefused(
            f"As fp16 a logit of the validation images moves by {largest:.2e}; the tolerance is {allowed:.2e}. Numbers "
            "inside this net are too far apart for float16: export int8, or stay with the float file."
        )


def _evaluate(session: onnxruntime.InferenceSession, images: Minibatches, labels: Sequence[str]) -> Evaluation:
    return Evaluation(tuple(labels), run(session, images, 1), images.targets.numpy())


def _elsewhere(graph: onnx.ModelProto, precision: Precision) -> onnxruntime.InferenceSession:
    """The same file as another processor computes it: fp16 with every result rounded, as on a GPU; int8 without
    onnxruntime's fused integer kernels, with its steps in float.
    """
    if precision == "fp16":
        return open_session(rounded(graph).SerializeToString())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return open_session(graph.SerializeToString(), options)


def _manifest(
    manifest: Manifest, precision: Precision, attempt: _Attempt, *, validation: Minibatches, before: Evaluation
) -> Manifest:
    """The float file's, with the new file's own answer on the test card and its own parity between batch sizes."""
    after = attempt.judged
    metrics = {f"{name}_fp32": figure for name, figure in manifest.provenance.metrics.items()} | {
        "validation_accuracy": after.accuracy,
        "validation_class_averaged_accuracy": after.class_averaged_accuracy,
        "validation_accuracy_fp32": before.accuracy,
        "largest_logit_difference_from_fp32": _largest_difference(before, after),
    }
    model = attempt.graph.SerializeToString()
    session = open_session(model)
    names = tuple(manifest.outputs)

    def one_by_one(pixels: NDArray[np.uint8]) -> Answers:
        rows = [answer(session, image[None], names) for image in pixels]
        return {name: np.concatenate([row[name] for row in rows]) for name in names}

    bias = [manifest.heat.bias[label] for label in manifest.labels] if manifest.heat else []
    expected = Expected(attempt.here.logits, manifest.outputs, one_by_one, np.array(bias))
    parity = measure_parity(model, validation, expected)
    provenance = manifest.provenance.model_copy(update={"metrics": metrics, "parity": parity})
    card = signed_again(manifest, session, _elsewhere(attempt.graph, precision))
    return manifest.model_copy(update={"precision": precision, "golden": card, "provenance": provenance})


def _judged_anew(graph: onnx.ModelProto, model: FloatModel, progress: Progress) -> Manifest:
    """The float file's, with the plane in `graph` and the threshold taken from what this graph answers."""
    before = model.manifest.familiarity
    assert before is not None
    session = open_session(only_outputs(graph.SerializeToString(), ["features"]))
    photos, folds = judged_photos(model.train)
    images = model.images(photos)
    pixels = (images.read([index]).pixels.numpy() for index in range(len(images)))
    rows = [answer(session, image, ["features"])["features"] for image in pixels]
    fitted = fit_familiarity(torch.from_numpy(np.concatenate(rows)), folds, model.manifest.provenance.seed)
    if fitted is None:
        raise ExportRefused("Too few of the training photos have features that are numbers and not zero. Train again.")
    tensors = {f"familiarity.{name}": tensor.numpy() for name, tensor in fitted.plane.state_dict().items()}
    for weights in graph.graph.initializer:  # under the names that torch's exporter gives them
        if weights.name in tensors:
            weights.CopyFrom(onnx.numpy_helper.from_array(tensors.pop(weights.name), weights.name))
    if tensors:
        raise ExportRefused(f"The {', '.join(tensors)} of familiarity could not be found in the graph. Train again.")
    progress.report("the threshold of familiarity was set anew for this file")
    return model.manifest.model_copy(update={"familiarity": fitted.judged(before.max_false_alarms)})


def _largest_difference(before: Evaluation, after: Evaluation) -> float:
    return float(np.abs(before.logits - after.logits).max())


def speed_ratio(before: bytes, after: bytes, images: Minibatches) -> float:
    """Images a second of `after` over `before`, one image and one thread at a time.

    From medians of turns, so that a busy moment of the machine falls on both.
    """
    batches = [images.read([index]).pixels.numpy() for index in range(min(len(images), SPEED_IMAGES))]
    sessions = [open_session(model, one_thread()) for model in (before, after)]
    turns = [[_seconds(session, batches) for session in sessions] for _ in range(SPEED_ROUNDS)]
    first, second = zip(*turns, strict=True)
    return float(median(first) / median(second))


def _seconds(session: onnxruntime.InferenceSession, batches: Sequence[NDArray[np.uint8]]) -> float:
    start = time.perf_counter()
    for pixels in batches:
        session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
    return time.perf_counter() - start
