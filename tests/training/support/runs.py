"""A small finished run, made for tests, and what its files say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from salver.artifact.manifest import Manifest
from salver.artifact.pixels import decode, to_pixels
from tests.training.run.test_run import settings
from tests.training.support.photos import photo_folder
from training.export.precision import Comparison, Precision, export_precision
from training.progress import Progress, Silent
from training.run.folder import read_run
from training.run.run import train_run


def small_run(folder: Path, photos: int = 10) -> Path:
    """FOLDER/run, trained on as many photos of cups and of plates in FOLDER/photos, with validation images enough."""
    photo_folder(folder / "photos", {"cup": photos, "plate": photos})
    train_run(replace(settings(folder / "photos", folder / "run"), val_size=0.3), Silent())
    return folder / "run"


def exported(
    run: Path, precision: Precision, out: Path, max_accuracy_loss: float, progress: Progress | None = None
) -> Comparison:
    """As `salver export` does it."""
    return export_precision(
        read_run(run), precision, out, max_accuracy_loss=max_accuracy_loss, progress=progress or Silent()
    )


def manifest_of(path: Path) -> Manifest:
    return Manifest.from_metadata({entry.key: entry.value for entry in onnx.load(path).metadata_props})


def card_logits(
    model: bytes, manifest: Manifest, copies: int = 1, options: onnxruntime.SessionOptions | None = None
) -> NDArray[np.float32]:
    """[copies, labels] for the test card, so many times in one batch."""
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    card = to_pixels(decode(manifest.golden.image, manifest.pixels), manifest.pixels)
    logits: NDArray[np.float32] = session.run(None, {"pixels": np.stack([card] * copies)})[0]
    return logits
