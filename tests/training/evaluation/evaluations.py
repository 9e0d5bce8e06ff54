"""Evaluations made for tests, and photos for the model that tells colours."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support.images import solid
from training.evaluation.evaluate import Evaluation


def from_logits(logits: Sequence[Sequence[float]] | NDArray[np.floating], truths: Sequence[int]) -> Evaluation:
    array = np.asarray(logits, dtype=np.float32)
    labels = tuple(f"label {index}" for index in range(array.shape[1]))
    return Evaluation(labels, array, np.array(truths, dtype=np.int64))


def from_pairs(truths: Sequence[int], predictions: Sequence[int], classes: int) -> Evaluation:
    return from_logits(np.eye(classes, dtype=np.float32)[list(predictions)], truths)


def from_probabilities(probabilities: Sequence[Sequence[float]], truths: Sequence[int]) -> Evaluation:
    return from_logits(np.log(np.asarray(probabilities)), truths)


def random_evaluation(images: int, classes: int, seed: int = 0, strength: float = 2.0) -> Evaluation:
    random = np.random.default_rng(seed)
    truths = random.integers(0, classes, images)
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), truths] += strength
    return from_logits(logits, truths.tolist())


def colour_folder(root: Path, count: int = 20) -> Path:
    """ROOT/COLOUR/NUMBER.png for red, green and blue: random colours, the named one mostly the strongest."""
    random = np.random.default_rng(8)
    for channel, colour in enumerate(("red", "green", "blue")):
        (root / colour).mkdir(parents=True)
        for number in range(count):
            levels = random.integers(0, 200, 3)
            levels[channel] = min(255, int(levels[channel]) + 90)
            red, green, blue = levels.tolist()
            (root / colour / f"{number:03d}.png").write_bytes(solid((red, green, blue)))
    return root
