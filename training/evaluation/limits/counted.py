"""What a service counted, out of its metrics or of a table of scores, for comparison with a model file's reference."""

import csv
import re
from collections import Counter
from collections.abc import Mapping
from io import StringIO
from typing import NamedTuple

import numpy as np

from salver.artifact.facts.bins import label_bins, number_bin
from salver.artifact.manifest import Manifest
from salver.artifact.scores import probabilities
from salver.text import counted, printable
from training.dataset.reading.table import from_cell
from training.errors import SettingError
from training.evaluation.limits.drift import LEAST_LOOKS, LEAST_REFERENCE, FactDrift, compare

METRIC = "salver_fact_images_total"
_LINE = re.compile(rf"^{METRIC}\{{(.*)\}}\s+(\S+)(?:\s+-?\d+)?\s*$")
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")
_SCORES = ["path", "truth", "predicted"]

Window = dict[str, dict[str, int]]
"""By fact and bin: `training.evaluation.limits.drift.Counts`."""


class Drift(NamedTuple):
    """What `salver drift` says of a window."""

    reference_images: int
    looks: int
    facts: tuple[FactDrift, ...]

    @property
    def alarm(self) -> bool:
        """Whether any fact moved."""
        return any(fact.alarm for fact in self.facts)


def judge(manifest: Manifest, window: Window) -> Drift:
    """The window beside the model file's reference. Raises SettingError when nothing can be told, and says why."""
    reference = manifest.reference
    if reference is None:
        raise SettingError(
            "The model file has no reference to compare with: it was exported by an earlier Salver. Export it again."
        )
    if reference.images < LEAST_REFERENCE:
        raise SettingError(
            f"The model file's reference has {counted(reference.images, 'image')}; with fewer than {LEAST_REFERENCE} "
            "no drift can be seen. Train with more photos for validation and test."
        )
    looks = sum(window.get("label", {}).values())
    if looks < LEAST_LOOKS:
        raise SettingError(
            f"{counted(looks, 'look')} at the world so far; with fewer than {LEAST_LOOKS} nothing is said. Ask again "
            "later."
        )
    try:
        return Drift(reference.images, looks, compare(reference.facts, window, manifest.labels))
    except KeyError as error:
        raise SettingError(
            f"Other bins were counted than this Salver knows ({printable(str(error.args[0]))}): use the version of "
            "Salver that the service has."
        ) from None


def read_metrics(text: str, sha256: str) -> Window:
    """The counts of the model version `sha256` in Prometheus' text, of all replicas whose lines are in it.

    Raises SettingError when they are of another version only, or there are none.
    """
    window: Window = {}
    others: Counter[str] = Counter()
    for line in text.splitlines():
        if not line.startswith(METRIC + "{"):
            continue
        labels, number = _parsed(line)
        if labels.get("version") != sha256:
            others[labels.get("version", "")] += 1
            continue
        bins = window.setdefault(labels.get("fact", ""), {})
        bins[labels.get("bin", "")] = bins.get(labels.get("bin", ""), 0) + number
    if not window and others:
        raise SettingError(
            f"The service counted images of version {_versions(others)}, and the model file is version {sha256[:12]}: "
            "what one version answers says nothing of another. Give the file that is served, of its precision."
        )
    if not window and "salver_ready" not in text:
        raise SettingError("There are no metrics of a Salver service. Give the address of its /metrics, or a copy.")
    return window


def since(window: Window, earlier: Window) -> Window:
    """What was counted between the two. Raises SettingError when the service began anew in between."""
    if any(window.get(fact, {}).get(name, 0) < count for fact, bins in earlier.items() for name, count in bins.items()):
        raise SettingError("The service began to count anew after --since was taken. Leave it out, or take it anew.")
    return {
        fact: {name: count - earlier.get(fact, {}).get(name, 0) for name, count in bins.items()}
        for fact, bins in window.items()
    }


def read_scores(text: str, manifest: Manifest) -> Window:
    """Labels and largest probabilities of the rows of a scores.csv, as `salver train` writes it; rows with the same
    logits are one look, and those without an answer are left out.

    Raises SettingError for a table of another form or with other labels.
    """
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    window: Window = {"label": {}, "probability": {}}
    bins, seen = label_bins(manifest.labels), set()
    try:
        head = [from_cell(cell) for cell in next(rows, [])]
        if head[:3] != _SCORES or sorted(head[3:]) != sorted(manifest.labels):
            raise SettingError(
                f"Its first line has to be {','.join(_SCORES)} and the labels of the model: "
                f"{printable(', '.join(manifest.labels[:10]))}."
            )
        columns = [head.index(label, 3) for label in manifest.labels]
        for row in rows:
            logits = np.array([float(row[column]) for column in columns], np.float32)
            if logits.tobytes() in seen or not np.isfinite(logits).all():
                continue
            seen.add(logits.tobytes())
            largest = float(probabilities(logits, manifest.temperature).max())
            for fact, name in (
                ("label", bins[int(logits.argmax())]),
                ("probability", number_bin("probability", largest)),
            ):
                window[fact][name] = window[fact].get(name, 0) + 1
    except (csv.Error, ValueError, IndexError) as error:
        raise SettingError(f"Line {rows.line_num} is no row of scores ({printable(str(error))}).") from error
    return window


def _parsed(line: str) -> tuple[Mapping[str, str], int]:
    """The labels of a line, and its count. Raises SettingError."""
    found = _LINE.match(line)
    try:
        if found is None:
            raise ValueError(line)
        labels, place = {}, 0
        while place < len(found[1]):
            label = _LABEL.match(found[1], place)
            if label is None:
                raise ValueError(line)
            labels[label[1]] = _ESCAPED.sub(lambda one: "\n" if one[1] == "n" else one[1], label[2])
            place = label.end()
        number = float(found[2])
        if not (number >= 0 and number.is_integer()):
            raise ValueError(line)
        return labels, int(number)
    except (ValueError, OverflowError):
        raise SettingError(f"A line of the metrics cannot be read: {printable(line[:200])}") from None


def _versions(found: Mapping[str, int]) -> str:
    names = sorted(printable(version[:12]) or "unknown" for version in found)
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
