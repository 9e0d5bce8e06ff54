"""How much faster one model file answers than another, on this machine's processor."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME
from training.evaluation.model_file import one_thread
from training.export.gate import open_session
from training.fit.minibatches import PixelImages

IMAGES, ROUNDS = 12, 5


def speed_ratio(before: Path, after: Path, images: PixelImages) -> float:
    """Images a second of `after` over `before`, one image and one thread at a time.

    From medians of turns, so that a busy moment of the machine falls on both.
    """
    batches = [images.read([index]).pixels.numpy() for index in range(min(len(images), IMAGES))]
    sessions = [open_session(path.read_bytes(), one_thread()) for path in (before, after)]
    turns = [[_seconds(session, batches) for session in sessions] for _ in range(ROUNDS)]
    first, second = zip(*turns, strict=True)
    return float(median(first) / median(second))


def _seconds(session: onnxruntime.InferenceSession, batches: Sequence[NDArray[np.uint8]]) -> float:
    start = time.perf_counter()
    for pixels in batches:
        session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
    return time.perf_counter() - start
