"""Another precision of a finished run: an int8 file beside the float one, through the same gate."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

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
from training.gate import check_file, measure_parity, open_session, run
from training.images import PixelImages
from training.progress import Progress
from training.quantisation import CALIBRATION_IMAGES, calibration_part, quantise
from training.run import Parts, RunSettings, split

GOLDEN_TOLERANCE = 0.02
"""Of the largest logit, or of 1; at least. See `_golden`."""
SPEED_IMAGES, SPEED_ROUNDS = 12, 5


@dataclass(frozen=True)
class Comparison:
    """The int8 file beside the float one, on the validation images."""

    path: Path
    before: Evaluation
    after: Evaluation
    changed: int
    """Images whose best label is another one."""
    speed_ratio: float
    """Images a second of int8 over float, one image and one thread at a time, on this machine."""


def export_int8(run_folder: Path, out: Path, max_accuracy_loss: float, progress: Progress) -> Comparison:
    """Quantise RUN/model.onnx statically: int8 weights per channel, uint8 activations, calibrated on training images.

    Raises SettingError and DatasetError when the run or its photos are not there any more, and ExportRefused when
    validation accuracy falls by more than `max_accuracy_loss` or the gate finds a fault; `out` is then not written.
    """
    source = run_folder / "model.onnx"
    manifest, parts = read_run(run_folder)
    validation = PixelImages(parts.validation, manifest.labels, manifest.pixels)
    if out.exists() and out.samefile(source):
        raise SettingError(f"{out} is the float file that the int8 one is made from. Name another file with --out.")
    before = _evaluate(source.read_bytes(), validation, manifest.labels)
    progress.report(f"calibrating on {min(len(parts.train), CALIBRATION_IMAGES)} training images …")
    calibration = PixelImages(calibration_part(parts.train), manifest.labels, manifest.pixels)
    for first_in_float in (False, True):
        graph = quantise(source, calibration, first_in_float)
        after = _evaluate(graph.SerializeToString(), validation, manifest.labels)
        if round(before.accuracy - after.accuracy, 9) <= max_accuracy_loss:
            break
    else:
        raise ExportRefused(
            f"As int8 the validation accuracy is {after.accuracy:.4f} and was {before.accuracy:.4f}: more than "
            f"{max_accuracy_loss:g} is lost. Raise --max-accuracy-loss, or stay with the float file."
        )
    quantised = _manifest(manifest, graph, validation, before, after)
    onnx.helper.set_model_props(graph, quantised.to_metadata())
    with durable(out) as partial:
        partial.write_bytes(graph.SerializeToString())
        check_file(partial, quantised, parts.validation, after)
    changed = int((before.predictions != after.predictions).sum())
    return Comparison(out, before, after, changed, _speed_ratio(source, out, validation))


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
    data = Dataset.from_dir(settings.data)
    parts = split(data, settings) if data.fingerprint() == fingerprint else None
    if parts is None or parts.train.fingerprint() != manifest.provenance.data_fingerprint:
        raise DatasetError(
            f"The photos in {settings.data} are not those of the run any more, so its split cannot be made again. "
            "Train again."
        )
    return manifest, parts


def _evaluate(model: bytes, images: PixelImages, labels: Sequence[str]) -> Evaluation:
    return Evaluation(tuple(labels), run(open_session(model), images, 1), images.targets.numpy())


def _manifest(
    manifest: Manifest, graph: onnx.ModelProto, validation: PixelImages, before: Evaluation, after: Evaluation
) -> Manifest:
    """The float file's, with the int8 file's own answer on the test card and its own parity between batch sizes."""
    data = graph.SerializeToString()
    metrics = {f"{name}_fp32": figure for name, figure in manifest.provenance.metrics.items()} | {
        "validation_accuracy": after.accuracy,
        "validation_class_averaged_accuracy": after.class_averaged_accuracy,
        "validation_accuracy_fp32": before.accuracy,
    }
    parity = measure_parity(data, validation, after.logits)
    provenance = manifest.provenance.model_copy(update={"metrics": metrics, "parity": parity})
    update = {"precision": "int8", "golden": _golden(manifest, data), "provenance": provenance}
    return manifest.model_copy(update=update)


def _golden(manifest: Manifest, model: bytes) -> Golden:
    """The test card with the logits of `model`.

    Where an activation is rounded to the next of its 255 steps the rest of the net follows, so kernels that round
    differently give other logits. How far apart is measured: the same file without onnxruntime's fused integer kernels
    computes its steps in float. The tolerance is 1.5 times that distance.
    """
    card = to_pixels(decode(manifest.golden.image, manifest.pixels), manifest.pixels)[np.newaxis]
    logits = open_session(model).run([OUTPUT_NAME], {INPUT_NAME: card})[0][0]
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    in_float = _open(model, plain).run([OUTPUT_NAME], {INPUT_NAME: card})[0][0]
    least = GOLDEN_TOLERANCE * max(1.0, float(np.abs(logits).max()))
    return Golden.model_construct(
        image=manifest.golden.image,
        logits=dict(zip(manifest.labels, logits.tolist(), strict=True)),
        tolerance=max(least, 1.5 * float(np.abs(logits - in_float).max())),
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
