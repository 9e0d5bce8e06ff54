"""Another precision of a finished run: an int8 or fp16 file beside the float one, through the same gate."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from pydantic import TypeAdapter

from artifact.errors import ModelFileError
from artifact.manifest import INPUT_NAME, OUTPUT_NAME, Golden, Manifest
from artifact.pixels import decode, to_pixels
from training.dataset import Dataset
from training.durable import durable
from training.errors import DatasetError, ExportRefused, SettingError
from training.evaluation import Evaluation
from training.gate import check_file, measure_parity, open_session, run, tolerance
from training.half import check_close, halve, rounded
from training.images import PixelImages
from training.progress import Progress
from training.quantisation import CALIBRATION_IMAGES, calibration_part, quantise
from training.run import Parts, RunSettings, split

Precision = Literal["fp16", "int8"]
GOLDEN_TOLERANCE = {"fp16": 0.01, "int8": 0.02}
"""Of the largest logit, or of 1; at least. See `_golden`."""
SPEED_IMAGES, SPEED_ROUNDS = 12, 5


@dataclass(frozen=True)
class Comparison:
    """The new file beside the float one, on the validation images."""

    path: Path
    precision: Precision
    before: Evaluation
    after: Evaluation
    changed: int
    """Images whose best label is another one."""
    speed_ratio: float
    """Images a second of the new file over the float one, one image and one thread at a time, on this machine."""


def export_precision(
    run_folder: Path, precision: Precision, out: Path, max_accuracy_loss: float, progress: Progress
) -> Comparison:
    """Make RUN/model.onnx smaller: with int8 weights and uint8 activations, or with float16 ones.

    Raises SettingError and DatasetError when the run or its photos are not there any more, and ExportRefused when
    validation accuracy falls by more than `max_accuracy_loss` or the gate finds a fault; `out` is then not written.
    """
    source = run_folder / "model.onnx"
    manifest, parts = read_run(run_folder)
    validation = PixelImages(parts.validation, manifest.labels, manifest.pixels)
    if out.exists() and out.samefile(source):
        raise SettingError(f"{out} is the float file that the {precision} one is made from. Name another with --out.")
    before = _evaluate(source.read_bytes(), validation, manifest.labels)
    graphs = _int8(source, parts, manifest, progress) if precision == "int8" else _fp16(source, validation, before)
    graph, after = _within(max_accuracy_loss, graphs, precision, validation, before)
    elsewhere = graph if precision == "int8" else rounded(source)
    converted = _manifest(manifest, precision, graph, elsewhere, validation, before, after)
    onnx.helper.set_model_props(graph, converted.to_metadata())
    with durable(out) as partial:
        partial.write_bytes(graph.SerializeToString())
        check_file(partial, converted, parts.validation, after)
    return Comparison(out, precision, before, after, _changed(before, after), _speed_ratio(source, out, validation))


def read_run(run_folder: Path) -> tuple[Manifest, Parts]:
    """The manifest of a run's model file and the parts of its photos, split as they were.

    Raises SettingError for a folder without them, ExportRefused for a model file that cannot be loaded, and
    DatasetError when the photos are others than the model was trained on.
    """
    try:
        content = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
        settings = TypeAdapter(RunSettings).validate_python(content["settings"])
        session = open_session((run_folder / "model.onnx").read_bytes())
        manifest = Manifest.from_metadata(session.get_modelmeta().custom_metadata_map)
        fingerprint = content["data_fingerprint"]
    except (OSError, ValueError, TypeError, KeyError, ModelFileError) as error:
        raise SettingError(f"{run_folder} is not the folder of a finished run: {error}.") from error
    if manifest.precision != "fp32":
        raise SettingError(
            f"{run_folder / 'model.onnx'} is {manifest.precision} already. Put the float file back there."
        )
    data = Dataset.from_dir(settings.data)
    parts = split(data, settings) if data.fingerprint() == fingerprint else None
    if parts is None or parts.train.fingerprint() != manifest.provenance.data_fingerprint:
        raise DatasetError(
            f"The photos in {settings.data} are not those of the run any more, so its split cannot be made again. "
            "Train again."
        )
    return manifest, parts


def _int8(source: Path, parts: Parts, manifest: Manifest, progress: Progress) -> Iterator[onnx.ModelProto]:
    """All but the last layer in int8; then, for whoever asks on, all but the first and the last."""
    progress.report(f"calibrating on {min(len(parts.train), CALIBRATION_IMAGES)} training images …")
    calibration = PixelImages(calibration_part(parts.train), manifest.labels, manifest.pixels)
    yield quantise(source, calibration)
    progress.report("too much accuracy is lost; once more with the first layer in float …")
    yield quantise(source, calibration, first_in_float=True)


def _fp16(source: Path, validation: PixelImages, before: Evaluation) -> Iterator[onnx.ModelProto]:
    """The only one there is, if it does in true float16 what it does here. Raises ExportRefused."""
    graph = halve(source)
    for model in (rounded(source), graph):
        check_close(before.logits, _evaluate(model.SerializeToString(), validation, before.labels).logits)
    yield graph


def _within(
    max_accuracy_loss: float,
    graphs: Iterator[onnx.ModelProto],
    precision: Precision,
    validation: PixelImages,
    before: Evaluation,
) -> tuple[onnx.ModelProto, Evaluation]:
    """The first graph that loses no more than that. Raises ExportRefused when none does."""
    for graph in graphs:
        after = _evaluate(graph.SerializeToString(), validation, before.labels)
        if round(before.accuracy - after.accuracy, 9) <= max_accuracy_loss:
            return graph, after
    raise ExportRefused(
        f"As {precision} the validation accuracy is {after.accuracy:.4f} and was {before.accuracy:.4f}; "
        f"{_changed(before, after)} of {len(validation)} images have another best label. More than "
        f"{max_accuracy_loss:g} is lost: raise --max-accuracy-loss, or stay with the float file."
    )


def _changed(before: Evaluation, after: Evaluation) -> int:
    return int((before.predictions != after.predictions).sum())


def _evaluate(model: bytes, images: PixelImages, labels: Sequence[str]) -> Evaluation:
    return Evaluation(tuple(labels), run(open_session(model), images, 1), images.targets.numpy())


def _manifest(
    manifest: Manifest,
    precision: Precision,
    graph: onnx.ModelProto,
    elsewhere: onnx.ModelProto,
    validation: PixelImages,
    before: Evaluation,
    after: Evaluation,
) -> Manifest:
    """The float file's, with the new file's own answer on the test card and its own parity between batch sizes."""
    data = graph.SerializeToString()
    metrics = {f"{name}_fp32": figure for name, figure in manifest.provenance.metrics.items()} | {
        "validation_accuracy": after.accuracy,
        "validation_class_averaged_accuracy": after.class_averaged_accuracy,
        "validation_accuracy_fp32": before.accuracy,
    }
    parity = measure_parity(data, validation, after.logits)
    provenance = manifest.provenance.model_copy(update={"metrics": metrics, "parity": parity})
    golden = _golden(manifest, data, elsewhere.SerializeToString(), GOLDEN_TOLERANCE[precision])
    return manifest.model_copy(update={"precision": precision, "golden": golden, "provenance": provenance})


def _golden(manifest: Manifest, model: bytes, elsewhere: bytes, least: float) -> Golden:
    """The test card with the logits of `model`.

    Where one number is rounded to the next step the rest of the net follows, so machines that round differently give
    other logits. How far apart is measured: `elsewhere` runs without onnxruntime's fused kernels, so an int8 file's
    steps are computed in float, and a graph with float16's steps really takes them. The tolerance is 1.5 times that
    distance.
    """
    card = to_pixels(decode(manifest.golden.image, manifest.pixels), manifest.pixels)[np.newaxis]
    logits = open_session(model).run([OUTPUT_NAME], {INPUT_NAME: card})[0][0]
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    other = _open(elsewhere, plain).run([OUTPUT_NAME], {INPUT_NAME: card})[0][0]
    return Golden.model_construct(
        image=manifest.golden.image,
        logits=dict(zip(manifest.labels, logits.tolist(), strict=True)),
        tolerance=max(tolerance(logits, least), 1.5 * float(np.abs(logits - other).max())),
    )


def _speed_ratio(source: Path, target: Path, images: PixelImages) -> float:
    """Medians of turns, so that a busy moment of the machine falls on both."""
    batches = [images.read([index]).pixels.numpy() for index in range(min(len(images), SPEED_IMAGES))]
    single = onnxruntime.SessionOptions()
    single.intra_op_num_threads = 1
    sessions = [_open(path.read_bytes(), single) for path in (source, target)]
    rounds = [[_seconds(session, batches) for session in sessions] for _ in range(SPEED_ROUNDS)]
    slow, fast = zip(*rounds, strict=True)
    return float(median(slow) / median(fast))


def _open(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _seconds(session: onnxruntime.InferenceSession, batches: Sequence[NDArray[np.uint8]]) -> float:
    start = time.perf_counter()
    for pixels in batches:
        session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
    return time.perf_counter() - start
