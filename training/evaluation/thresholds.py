"""The probability below which a label is not given: what it would do, how to choose it, and how to keep it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import precision_recall_curve

from salver.artifact.manifest import ThresholdChange
from salver.text import counted
from training.errors import SettingError
from training.evaluation.intervals import proportion
from training.evaluation.model_file import ModelFile
from training.evaluation.predictions import Predictions
from training.evaluation.schema import Estimate
from training.ranges import THRESHOLD, check_names


@dataclass(frozen=True)
class Effect:
    """Of a threshold on the images whose best label is `label`, as the service applies it."""

    label: str
    threshold: float
    precision: Estimate
    """The share of the accepted images that has the label."""
    recall: Estimate
    """The share of the label's images that is accepted as such."""
    accepted: int
    predicted: int
    """Images whose best label it is, accepted or not."""


def effect(evaluation: Predictions, label: str, threshold: float) -> Effect:
    """Raises SettingError for a label that the model does not have."""
    index = _index(evaluation.labels, label)
    predicted = evaluation.predictions == index
    accepted = predicted & (evaluation.scores >= threshold)
    right, support = int((accepted & evaluation.right).sum()), int((evaluation.truths == index).sum())
    return Effect(
        label=label,
        threshold=threshold,
        precision=proportion(right, int(accepted.sum()), "no image is accepted"),
        recall=proportion(right, support, f"no image of the set has the label '{label}'"),
        accepted=int(accepted.sum()),
        predicted=int(predicted.sum()),
    )


def choose_threshold(evaluation: Predictions, label: str, min_precision: float) -> float:
    """The lowest threshold with which the share of right ones among the accepted images is `min_precision` or more.

    It lies halfway between the lowest score that is accepted and the next one below, so that the last digit of another
    machine's arithmetic changes no answer; 0 when no threshold is needed. Raises SettingError when none is enough.
    """
    predicted = evaluation.predictions == _index(evaluation.labels, label)
    right, scores = evaluation.right[predicted], evaluation.scores[predicted]
    if not right.any():
        raise SettingError(
            f"Of {counted(len(evaluation.truths), 'image')} none is rightly taken for '{label}', so no threshold can "
            "be chosen."
        )
    precision, _, limits = precision_recall_curve(right, scores)
    enough = np.flatnonzero(precision[:-1] >= min_precision)  # the last one is that of no image at all
    if not len(enough):
        raise SettingError(
            f"No threshold gives '{label}' a precision of {min_precision:g}: the most is {precision[:-1].max():.4f} on "
            f"the {counted(len(right), 'image')} that it would be given to. Ask for less, or train a better model."
        )
    lowest = int(enough[0])
    return float(limits[lowest - 1] + limits[lowest]) / 2 if lowest else 0.0


def set_threshold(
    file: ModelFile, out: Path, label: str, threshold: float, *, min_precision: float | None, fingerprint: str | None
) -> ModelFile:
    """Write the model file with that threshold, and with how it came about, to `out`; 0 removes the label's threshold.

    Thresholds of other labels stay. Where it has that threshold already there is no new version: `out` then becomes a
    copy of the file, and the file itself is left as it is. Raises SettingError for a label that the model does not
    have or a threshold that is no probability, and OSError.
    """
    manifest = file.manifest
    _index(manifest.labels, label)
    THRESHOLD.check(threshold, label)
    if threshold == (manifest.thresholds or {}).get(label, 0.0):
        return file.copied(out)
    kept = {name: value for name, value in (manifest.thresholds or {}).items() if name != label}
    thresholds = kept | {label: threshold} if threshold else kept
    change = ThresholdChange(
        label=label,
        threshold=threshold,
        from_sha256=file.sha256,
        min_precision=min_precision,
        data_fingerprint=fingerprint,
    )
    changes = (*manifest.provenance.threshold_changes, change)
    provenance = manifest.provenance.model_copy(update={"threshold_changes": changes})
    return file.write(out, manifest.model_copy(update={"thresholds": thresholds or None, "provenance": provenance}))


def check_thresholds(thresholds: Mapping[str, float], labels: Iterable[str] | None = None) -> None:
    """Raises SettingError for one that is no probability, and for one of a label not among `labels`, if given."""
    for label, threshold in thresholds.items():
        THRESHOLD.check(threshold, label)
    if labels is not None:
        check_names("threshold", thresholds, labels)


def check_label(labels: Iterable[str], label: str) -> None:
    """Raises SettingError for a label that is none of the model's."""
    check_names("threshold", [label], labels)


def _index(labels: tuple[str, ...], label: str) -> int:
    check_label(labels, label)
    return labels.index(label)
