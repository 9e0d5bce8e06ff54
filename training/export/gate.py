"""The gate before a model file gets its name: does the file answer as the trained net does?

Two steps, because the file carries the figures of the first. `measure_parity` compares the bare graph with torch at
three batch sizes; `check_file` then uses the finished file as the service will: its own manifest's pixels and labels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from salver.artifact.errors import ModelFileError
from salver.artifact.graph import check_graph
from salver.artifact.manifest import OUTPUT_NAME, Difference, Manifest, OutputName, Parity
from salver.artifact.test_card import card_pixels, check_card
from salver.system.cores import available_cores
from salver.text import counted
from training.dataset.dataset import Dataset
from training.errors import ExportRefused
from training.evaluation.evaluate import Evaluation, by_label
from training.evaluation.model_file import ORT_ERRORS, Answers, answer
from training.fit.minibatches import Minibatches

RELATIVE_TOLERANCE = 1e-4
"""Of the largest logit, or of 1. Two float32 implementations that add in another order were measured to differ by 1e-6
to 4e-6 of it; another normalisation, weight or resize filter differs by a hundredth or more."""
LARGEST_BATCH = 32


class Expected(NamedTuple):
    """What a graph has to answer: torch's `logits` [images, classes], the `shapes` of all outputs without the batch,
    and the others computed for pixels [batch, height, width, 3]. `bias` [classes] goes with heat."""

    logits: NDArray[np.float32]
    shapes: Mapping[OutputName, tuple[int, ...]]
    answers: Callable[[NDArray[np.uint8]], Answers]
    bias: NDArray[np.float64]


def measure_parity(model: bytes, images: Minibatches, expected: Expected) -> Parity:
    """Compare the graph in `model` with what it has to answer for the same images.

    At the largest batch every image counts for the logits; at batch 1 and 2, and for the other outputs, the first 32
    do, for the sake of time. Raises ExportRefused when a batch size fails, an output differs by more than its
    tolerance, or a top-1 label differs.
    """
    logits = expected.logits
    session = open_session(model)
    if len(images) < 2:
        raise ExportRefused(f"The gate needs at least 2 validation images and has {len(images)}. Give it more.")
    with _refusing():
        check_graph(session, images.spec, expected.shapes)
    largest = min(len(images), LARGEST_BATCH)
    sizes = tuple(sorted({1, 2, largest}))
    pixels = images.read(range(largest)).pixels.numpy()
    trained = expected.answers(pixels) if len(expected.shapes) > 1 else {}
    differences, others = [], []
    for size in sizes:
        parts = [slice(start, start + size) for start in range(0, largest, size)]
        served = [_score(session, pixels[part], tuple(expected.shapes)) for part in parts]
        own = [answers[OUTPUT_NAME] for answers in served]
        if size == largest:
            own += [_score(session, more)[OUTPUT_NAME] for more in _batches(images, size, largest)]
        found = np.concatenate(own)
        differences.append(_difference(found, logits[: len(found)], f"at batch {size}"))
        others.append((served, [{name: answer[part] for name, answer in trained.items()} for part in parts]))
    return Parity(
        images=len(images),
        batch_sizes=sizes,
        max_logit_difference=max(differences),
        tolerance=tolerance(logits),
        outputs=_other_outputs(others, expected),
        outputs_images=largest if len(expected.shapes) > 1 else 0,
    )


def _other_outputs(
    answers: Sequence[tuple[Sequence[Answers], Sequence[Answers]]], expected: Expected
) -> dict[str, Difference]:
    """What stands beside the logits: the largest differences between what was served and trained, part by part."""
    found: dict[str, list[Difference]] = {}
    for served, trained in (pair for parts in answers for pair in zip(*parts, strict=True)):
        pairs: dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]] = {
            name: (served[name], trained[name]) for name in expected.shapes if name != OUTPUT_NAME
        }
        if "heat" in served:
            sums = served["heat"].mean(axis=(2, 3), dtype=np.float64) + expected.bias
            pairs["heat sum"] = (sums, served[OUTPUT_NAME])
        for name, (ours, theirs) in pairs.items():
            found.setdefault(name, []).append(_output_difference(name, ours, theirs))
    return {name: max(each, key=lambda one: one.largest / one.tolerance) for name, each in found.items()}


def _output_difference(name: str, served: NDArray[np.floating], wanted: NDArray[np.floating]) -> Difference:
    """Numbers that are none have to be none on both sides."""
    both = np.isfinite(served) & np.isfinite(wanted)
    if not np.array_equal(np.isfinite(served), np.isfinite(wanted)):
        raise ExportRefused(f"The file's {name} is not finite where torch's is, or the other way round.")
    difference = Difference(
        largest=float(np.abs(served - wanted).max(initial=0, where=both)),
        tolerance=RELATIVE_TOLERANCE * max(1.0, float(np.abs(wanted).max(initial=0, where=both))),
    )
    if difference.largest > difference.tolerance:
        raise ExportRefused(
            f"The file's {name} differs from what it has to be by up to {difference.largest:.2e}; the tolerance is "
            f"{difference.tolerance:.2e}."
        )
    return difference


def check_file(path: Path, manifest: Manifest, validation: Dataset, reported: Evaluation) -> None:
    """Score `validation` with the file alone and compare with what training reported, label by label.

    Raises ExportRefused when the manifest in the file is not `manifest`, the logits or the accuracies differ, or the
    test card gets another answer.
    """
    session = open_session(path.read_bytes())
    with _refusing():
        own = Manifest.from_metadata(session.get_modelmeta().custom_metadata_map)
        check_graph(session, own.pixels, own.outputs)
    if own != manifest or set(own.labels) != set(reported.labels):
        raise ExportRefused("The manifest read back from the file is not the one that was to be written.")
    images = Minibatches(validation, own.labels, own.pixels)
    served = by_label(reported, run(session, images, LARGEST_BATCH), own.labels)
    _check_accuracy(served, reported)
    _difference(served.logits, reported.logits, "by label name")
    with _refusing():
        check_card(own, _score(session, card_pixels(own)[None])[OUTPUT_NAME][0])


def open_session(model: bytes, options: onnxruntime.SessionOptions | None = None) -> onnxruntime.InferenceSession:
    """On the CPU, with `options` or onnxruntime's defaults, and as many threads as the quota has cores.

    Raises ExportRefused when it cannot load the model.
    """
    options = options or onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.intra_op_num_threads or available_cores()
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ExportRefused(f"onnxruntime cannot load the exported graph: {error}") from error


def run(session: onnxruntime.InferenceSession, images: Minibatches, batch_size: int) -> NDArray[np.float32]:
    """Logits [images, classes], `batch_size` images at a time. Raises ExportRefused."""
    return np.concatenate([_score(session, pixels)[OUTPUT_NAME] for pixels in _batches(images, batch_size)])


def tolerance(logits: NDArray[np.float32], relative: float = RELATIVE_TOLERANCE) -> float:
    """The largest difference that the gate lets pass, in logits: that share of the largest, or of 1."""
    return relative * max(1.0, float(np.abs(logits).max()))


def _batches(images: Minibatches, batch_size: int, first: int = 0) -> Iterator[NDArray[np.uint8]]:
    for start in range(first, len(images), batch_size):
        yield images.read(range(start, min(start + batch_size, len(images)))).pixels.numpy()


def _score(
    session: onnxruntime.InferenceSession, pixels: NDArray[np.uint8], names: Sequence[OutputName] = (OUTPUT_NAME,)
) -> Answers:
    try:
        return answer(session, pixels, names)
    except ORT_ERRORS as error:
        raise ExportRefused(f"The exported graph fails at batch {len(pixels)}: {error}") from error


def _difference(served: NDArray[np.float32], trained: NDArray[np.float32], where: str) -> float:
    """The largest difference, when it passes."""
    if not (np.isfinite(served).all() and np.isfinite(trained).all()):
        raise ExportRefused(f"Logits of validation images are not finite {where}. Train with lower learning rates.")
    largest, allowed = float(np.abs(served - trained).max()), tolerance(trained)
    if largest > allowed:
        raise ExportRefused(
            f"The file's logits differ from torch's by up to {largest:.2e} {where}; the tolerance is {allowed:.2e}."
        )
    changed = int((served.argmax(axis=1) != trained.argmax(axis=1)).sum())
    if changed:
        raise ExportRefused(f"The file gives {changed} of {counted(len(trained), 'image')} another best label {where}.")
    return largest


def _check_accuracy(served: Evaluation, reported: Evaluation) -> None:
    ours = (served.accuracy, served.class_averaged_accuracy)
    theirs = (reported.accuracy, reported.class_averaged_accuracy)
    if ours != theirs:
        raise ExportRefused(
            f"Through the file the accuracy is {ours[0]:.4f} overall and {ours[1]:.4f} class-averaged; training "
            f"reported {theirs[0]:.4f} and {theirs[1]:.4f}."
        )


@contextmanager
def _refusing() -> Iterator[None]:
    """What the contract finds wrong with the file refuses its export."""
    try:
        yield
    except ModelFileError as error:
        raise ExportRefused(str(error)) from error
