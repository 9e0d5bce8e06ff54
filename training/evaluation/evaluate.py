"""How well a classifier, or a model file, does on a labelled set; how that shows itself in a notebook."""

import base64
import html
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from salver.artifact.manifest import OutputName
from training.dataset.dataset import Dataset
from training.errors import DatasetError
from training.evaluation.limits.seen import known_part, known_photos, part_counts
from training.evaluation.metrics import compute_metrics
from training.evaluation.model_file import Answers, ModelFile
from training.evaluation.plots import WIDTH, Plot, plots
from training.evaluation.predictions import Predictions
from training.evaluation.schema import Estimate, Metrics
from training.progress import Progress, Silent


class Evaluation(Predictions):
    """The answers for a labelled set, with every figure and picture of them. A notebook shows it by itself."""

    def metrics(self) -> Metrics:
        """Every figure with its interval, as metrics.json has them. Computed once."""
        return self._metrics

    def plots(self) -> dict[str, Plot]:
        """The pictures by name: "roc", "precision-recall", "confusion-matrix", "reliability", "coverage"."""
        return plots(self, self._metrics)

    @cached_property
    def _metrics(self) -> Metrics:
        return compute_metrics(self)

    def _repr_html_(self) -> str:
        """The figures of the whole set with their intervals, and the curves."""
        metrics, pictures = self.metrics(), self.plots()
        rows = [
            ("Images", str(metrics.images)),
            ("Accuracy, overall", _shown(metrics.accuracy)),
            ("Accuracy, class-averaged", _shown(metrics.class_averaged_accuracy)),
            ("F1, macro", _shown(metrics.macro_f1)),
            ("Labels without images", html.escape(", ".join(metrics.absent_labels)) or "none"),
            ("Images without an answer", str(metrics.non_finite)),
        ]
        if metrics.familiarity:
            rows.append(("Unlike the training photos", _shown(metrics.familiarity.false_alarms)))
        known = known_photos(self.model) if self.model else None
        if known and self.images:
            rows.append(("In the model's run", known_part(part_counts(known, self.images))))
        cells = "".join(f"<tr><th style='text-align: left'>{name}</th><td>{value}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>{_image(pictures['roc'])}{_image(pictures['precision-recall'])}"


class Scorer(Protocol):
    """What can be evaluated: a classifier, a model file, or something of your own.

    Where it has an `exported`, as a classifier has once it was exported, that model file's temperature and thresholds
    count.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the logits."""

    def score(self, dataset: Dataset, progress: Progress) -> NDArray[np.float32]:
        """Logits [images, classes]. Raises DatasetError for images that cannot be read."""


@runtime_checkable
class Answering(Scorer, Protocol):
    """What answers more than logits."""

    @property
    def outputs(self) -> Collection[OutputName]:
        """The names of all that it answers."""

    def answers(self, dataset: Dataset, names: Sequence[OutputName], progress: Progress) -> Answers:
        """These outputs, each with the images as its first axis. Raises as `score` does."""


def evaluate(model: Scorer | Path | str, dataset: Dataset, progress: Progress | None = None) -> Evaluation:
    """Score every image of `dataset` with a classifier or a model file, through `salver.artifact.pixels`.

    A file is scored as the service does it on a CPU; a classifier by its own net, with temperature and thresholds once
    it has been exported. Raises DatasetError for an empty set, an unreadable image, or a label that the model does not
    have, and SettingError for a file that is no model or that was exchanged meanwhile.
    """
    if not len(dataset):
        raise DatasetError("There are no images to score. Give a data set with some.")
    scorer = ModelFile.read(Path(model)) if isinstance(model, Path | str) else model
    file = scorer if isinstance(scorer, ModelFile) else getattr(scorer, "exported", None)
    whose = f"The model file {scorer.path}" if isinstance(scorer, ModelFile) else "The classifier"
    truths = dataset.targets(scorer.labels, whose)
    answers = _answers(scorer, dataset, progress or Silent())
    return Evaluation(
        scorer.labels, answers["logits"], truths, dataset.images, file, familiarity=answers.get("familiarity")
    )


def _answers(scorer: Scorer, dataset: Dataset, progress: Progress) -> Answers:
    """Logits, and familiarity where the scorer has it."""
    if not isinstance(scorer, Answering):
        return {"logits": scorer.score(dataset, progress)}
    wanted: tuple[OutputName, ...] = ("logits", "familiarity")
    return scorer.answers(dataset, [name for name in wanted if name in scorer.outputs], progress)


def by_label(evaluation: Predictions, logits: NDArray[np.float32], order: Sequence[str]) -> Evaluation:
    """The same images with other logits, whose columns stand in `order`, a permutation of the labels."""
    columns = [order.index(label) for label in evaluation.labels]
    return Evaluation(evaluation.labels, logits[:, columns], evaluation.truths)


def _image(plot: Plot) -> str:
    data = base64.b64encode(plot.png()).decode()
    return f'<img alt="" width="{WIDTH}" src="data:image/png;base64,{data}">'


def _shown(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4f}" if estimate.value is not None else f"– {html.escape(estimate.reason or '')}"
    return f"{estimate.value:.4f} <small>({estimate.low:.3f} to {estimate.high:.3f})</small>"
