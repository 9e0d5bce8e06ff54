"""What report.html holds as data: figures, every image's answer, and small pictures of the worst."""

import base64
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from salver.artifact.errors import ImageError
from salver.artifact.manifest import Frozen
from salver.text import printable
from training.dataset.image import LabelledImage
from training.dataset.inspection.thumbnails import thumbnail
from training.errors import SettingError
from training.evaluation.comparison import answers, changed
from training.evaluation.evaluate import Evaluation
from training.evaluation.limits.balanced import balanced_scores
from training.evaluation.limits.seen import described
from training.evaluation.schema import MetricsFile
from training.fit.history import History
from training.report.heat import HeatMaps, heat_maps

SCORES = 1_000_000
"""The page holds so many scores, 4 bytes each: all of them, or the best of each image."""
FEWEST_BEST = 10
UNFAMILIAR_SHARE = 0.2
"""Of the pictures, for the least familiar images; those among the worst anyway leave room for others."""


class Answers(Frozen):
    """Columns of one entry an image, the worst first; truths and predictions are indices into the labels, -1 for no
    answer, and a loss is null without one.
    """

    names: tuple[str, ...]
    truths: tuple[int, ...]
    predictions: tuple[int, ...]
    scores: tuple[float, ...]
    losses: tuple[float | None, ...]
    old: tuple[str, ...] | None
    """The other model's labels."""
    old_right: tuple[bool, ...] | None
    familiarity: tuple[float | None, ...] | None
    """Null for one that is no number, and altogether for a model without."""
    foreign: tuple[bool, ...] | None


class BestScores(Frozen):
    """Of each image the `count` best labels and 65535 times their probabilities, both as base64 of little-endian
    uint16 [images, count].
    """

    count: int
    labels: str
    scores: str


class Epochs(Frozen):
    """Accuracies of each epoch."""

    training: tuple[float, ...]
    validation: tuple[float | None, ...]


class PageData(Frozen):
    """All of it. `thumbnails` are JPEGs in base64 of the images at the places `pictured`, empty for one that could not
    be read; `heat` shows where the model looked in them.
    """

    labels: tuple[str, ...]
    metrics: MetricsFile
    answers: Answers
    best: BestScores
    pictured: tuple[int, ...]
    thumbnails: tuple[str, ...]
    heat: HeatMaps
    epochs: Epochs
    seen: tuple[str, ...]
    """Lines on what the model's run had of the photos."""
    balanced: tuple[str, ...]
    """A line where class weights lifted labels' scores; or none."""
    command: str
    """What sets a threshold, but for label and value."""


def page_data(
    evaluation: Evaluation, metrics: MetricsFile, history: History, *, old: Evaluation | None, max_thumbnails: int
) -> PageData:
    """The worst first: with `old`, images that changed; then by loss.

    Raises SettingError for an evaluation that does not know its images.
    """
    if not evaluation.images:
        raise SettingError("This evaluation does not know its images. Make it with training.evaluation.evaluate.")
    order = np.argsort(-evaluation.losses, kind="stable")
    if old is not None:
        order = order[np.argsort(~changed(evaluation, old)[order], kind="stable")]
    pictured = _pictured(evaluation, order, max_thumbnails)
    places = order[list(pictured)].tolist()
    model = printable(evaluation.model.path) if evaluation.model else "MODEL.onnx"
    return PageData(
        labels=evaluation.labels,
        metrics=metrics,
        answers=_answers(evaluation, old, order),
        best=_best(evaluation.probabilities[order]),
        pictured=pictured,
        thumbnails=_thumbnails([evaluation.images[index] for index in places]),
        heat=heat_maps(evaluation, places),
        epochs=Epochs(training=history.train_accuracies, validation=history.eval_accuracies),
        seen=described(metrics.seen) if metrics.seen else (),
        balanced=tuple(balanced_scores(evaluation)),
        command=f"salver threshold {shlex.quote(model)}",
    )


def _pictured(evaluation: Evaluation, order: NDArray[np.int64], most: int) -> tuple[int, ...]:
    """Places in `order` of images that get a picture: the worst, and for a part of them the least familiar."""
    if evaluation.familiarity is None:
        return tuple(range(min(most, len(order))))
    strange = unfamiliar_first(evaluation.familiarity[order])[: int(most * UNFAMILIAR_SHARE)].tolist()
    chosen = dict.fromkeys([*strange, *range(len(order))])
    return tuple(sorted(list(chosen)[:most]))


def unfamiliar_first(familiarity: NDArray[np.float32]) -> NDArray[np.int64]:
    """The order in which the least familiar come first, and before them those whose familiarity is no number."""
    return np.argsort(np.where(np.isfinite(familiarity), familiarity, -np.inf), kind="stable")


def _answers(evaluation: Evaluation, old: Evaluation | None, order: NDArray[np.int64]) -> Answers:
    known, foreign = evaluation.familiarity, evaluation.foreign
    theirs = None if old is None else answers(old)
    return Answers(
        names=tuple(printable(evaluation.images[index].name) for index in order),
        truths=tuple(evaluation.truths[order].tolist()),
        predictions=tuple(evaluation.predictions[order].tolist()),
        scores=tuple(evaluation.scores[order].tolist()),
        losses=tuple(None if loss == np.inf else loss for loss in evaluation.losses[order].tolist()),
        old=None if theirs is None else tuple(theirs[index] for index in order),
        old_right=None if old is None else tuple(old.right[order].tolist()),
        familiarity=None if known is None else tuple(x if np.isfinite(x) else None for x in known[order].tolist()),
        foreign=None if foreign is None else tuple(foreign[order].tolist()),
    )


def _best(probabilities: NDArray[np.float64]) -> BestScores:
    images, labels = probabilities.shape
    count = min(labels, max(FEWEST_BEST, SCORES // images))
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    scores = np.take_along_axis(probabilities, best, axis=1)
    return BestScores(count=count, labels=_base64(best), scores=_base64((scores * 65535).round()))


def _base64(numbers: NDArray[np.int64] | NDArray[np.float64]) -> str:
    return base64.b64encode(numbers.astype("<u2").tobytes()).decode()


def _thumbnails(images: Sequence[LabelledImage]) -> tuple[str, ...]:
    with ThreadPoolExecutor() as pool:
        return tuple(pool.map(_thumbnail, images))


def _thumbnail(image: LabelledImage) -> str:
    try:
        return base64.b64encode(thumbnail(image.path)).decode()
    except (ImageError, OSError):
        return ""  # moved or changed since it was scored; the page says that there is no picture
