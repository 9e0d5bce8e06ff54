"""What becomes of one image: the outputs that were wanted of the model, or its error."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salver.artifact.manifest import Manifest, OutputName
from salver.artifact.scores import is_foreign
from service.errors import ScoringError

Values = NDArray[np.float32]
VALUE_BYTES = 4
Batch = Mapping[OutputName, Values]
"""Outputs by name, each [batch, …]."""
Wanted = frozenset[OutputName]
"""The outputs that an image is to have; the logits are always among them."""
LOGITS: Wanted = frozenset({"logits"})


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What the model gave for one image, in one run; None where it was not wanted."""

    logits: Values
    """[classes], all finite."""
    features: Values | None = None
    """[width], all finite and not all zero."""
    familiarity: float | None = None
    """From -1 to 1, high for what is like the training photos."""
    heat: Values | None = None
    """[classes, rows, columns], all finite: the mean of a label's cells, plus its bias, is its logit."""


Outcome = Outputs | ScoringError


def outputs_of(batch: Batch, row: int) -> Outputs:
    """One image's outputs out of a batch's.

    Raises ScoringError `inference-failed`: what was wanted is no number, or the features are nothing but zeros. No
    image passes for familiar by such numbers, as NaN is on neither side of a threshold.
    """
    logits, features, heat = batch["logits"][row], batch.get("features"), batch.get("heat")
    if not np.isfinite(logits).all():
        raise ScoringError("inference-failed", "The model gave non-finite scores for this image.")
    if features is not None:
        _check_features(features[row])
    if heat is not None and not np.isfinite(heat[row]).all():
        raise ScoringError("inference-failed", "The model gave a non-finite heat map for this image.")
    return Outputs(
        logits,
        None if features is None else features[row],
        _familiarity(batch, row),
        None if heat is None else heat[row],
    )


def foreign(manifest: Manifest, outputs: Outputs) -> bool | None:
    """Whether the image is unlike the training photos; None where its familiarity was not wanted."""
    if manifest.familiarity is None or outputs.familiarity is None:
        return None
    return is_foreign(outputs.familiarity, manifest.familiarity.threshold)


def held_bytes(manifest: Manifest, wanted: Iterable[Wanted]) -> int:
    """What the outputs besides the logits take until the images' request is answered."""
    beside = [name for each in wanted if each is not LOGITS for name in each - LOGITS]
    shapes = manifest.outputs if beside else {}
    return sum(VALUE_BYTES * math.prod(shapes[name]) for name in beside)


def _check_features(features: Values) -> None:
    if not np.isfinite(features).all():
        raise ScoringError("inference-failed", "The model gave non-finite features for this image.")
    if not features.any():
        raise ScoringError("inference-failed", "The model gave features that are all zero for this image.")


def _familiarity(batch: Batch, row: int) -> float | None:
    values = batch.get("familiarity")
    if values is None:
        return None
    value = float(values[row])
    if not np.isfinite(value):
        raise ScoringError(
            "inference-failed",
            "The image has no familiarity: the model's features for it are all zero or not finite.",
        )
    return value
