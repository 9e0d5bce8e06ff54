"""Pictures of an evaluation, as PNG and as SVG, and in a notebook by themselves.

Colours are of Okabe and Ito (2008), which differ for every eye; dashes and marks tell lines apart without them.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from salver.system.durable import durable
from salver.text import counted
from training.evaluation.predictions import Predictions
from training.evaluation.schema import Calibration, Curves, Estimate, Metrics, ReliabilityBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Style(TypedDict, total=False):
    """Of a line, in matplotlib's words."""

    color: str
    linestyle: str
    linewidth: float
    marker: str


BLUE, VERMILION, GREY = "#0072b2", "#d55e00", "#4b4b4b"
COLOURS = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":")
DRAWN_LABELS = len(COLOURS)
WIDTH = 640
"""Of a picture in a notebook, in CSS pixels; the file has more."""
COUNTED_LABELS = 30
"""With more labels than this, the confusion matrix has colours alone: counts would be too small to read."""
NAMED_LABELS = 50
"""With more, every second label or fewer is named at the sides."""


@dataclass(frozen=True)
class Plot:
    """A picture that shows itself in a notebook; `figure` is matplotlib's."""

    figure: "Figure"

    def save(self, path: Path) -> None:
        """As PATH.png and PATH.svg. Raises OSError."""
        for form in ("png", "svg"):
            with durable(path.with_name(f"{path.name}.{form}")) as partial:
                self.figure.savefig(partial, format=form)

    def png(self) -> bytes:
        """The picture's file."""
        stream = io.BytesIO()
        self.figure.savefig(stream, format="png")
        return stream.getvalue()

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return self.png(), {"width": WIDTH}


def plots(evaluation: Predictions, metrics: Metrics) -> dict[str, Plot]:
    """All of them, by name."""
    return {
        "roc": roc_plot(metrics),
        "precision-recall": precision_recall_plot(metrics),
        "confusion-matrix": Plot(confusion_figure(evaluation, counted(metrics.images, "image"))),
        "reliability": reliability_plot(metrics.calibration),
        "coverage": coverage_plot(metrics),
    }


def roc_plot(metrics: Metrics) -> Plot:
    """Micro, macro, and the labels with the smallest areas."""
    figure, axes = _axes("ROC, and the area under it", "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1)
    for name, curves, style in _chosen(metrics, lambda curves: curves.roc.area):
        roc = curves.roc
        axes.plot(roc.false_positive_rate, roc.true_positive_rate, label=_legend(name, roc.area), **style)
    return _finished(figure)


def precision_recall_plot(metrics: Metrics) -> Plot:
    """Micro, macro, and the labels with the smallest average precision."""
    figure, axes = _axes("Precision and recall, and average precision", "recall", "precision")
    for name, curves, style in _chosen(metrics, lambda curves: curves.precision_recall.average_precision):
        falls = curves.precision_recall
        axes.plot(falls.recall, falls.precision, label=_legend(name, falls.average_precision), **style)
    return _finished(figure)


def reliability_plot(calibration: Calibration) -> Plot:
    """Accuracy against confidence in each bin, before the temperature and after it."""
    figure, axes = _axes("Reliability", "best score, mean of a bin", "accuracy")
    axes.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1)
    before: Style = {"color": VERMILION, "linestyle": "--", "marker": "s"}
    _draw_bins(
        axes, calibration.bins_before, _legend("before the temperature: error", calibration.error_before), before
    )
    after: Style = {"color": BLUE, "marker": "o"}
    _draw_bins(axes, calibration.bins_after, _legend("after the temperature: error", calibration.error_after), after)
    return _finished(figure)


def _draw_bins(axes: "Axes", bins: Sequence[ReliabilityBin], legend: str, style: Style) -> None:
    points = [(each.confidence, each.accuracy) for each in bins if each.images]
    if points:
        axes.plot(*zip(*points, strict=True), label=legend, **style)


def coverage_plot(metrics: Metrics) -> Plot:
    """The accuracy of the surest images, against how many these are."""
    figure, axes = _axes("Accuracy of the surest images", "share of images answered", "accuracy of these")
    axes.plot(metrics.coverage.coverage, metrics.coverage.accuracy, color=BLUE, label="one threshold for all labels")
    return _finished(figure)


def confusion_figure(evaluation: Predictions, title: str) -> "Figure":
    """Shares of each truth as colours, with the counts; with many labels a mark for each cell that has images."""
    from matplotlib.figure import Figure

    labels = evaluation.labels
    side = min(3 + 0.5 * len(labels), 10)
    figure = Figure((side, side), dpi=110 if len(labels) <= COUNTED_LABELS else 160, layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="truth", title=title)
    (_draw_counts if len(labels) <= COUNTED_LABELS else _draw_marks)(axes, evaluation.confusion_matrix)
    named = [*range(0, len(labels), -(-len(labels) // NAMED_LABELS))]
    names = [shortened(labels[index]) for index in named]
    axes.set_xticks(named, names, rotation="vertical", fontsize="small", parse_math=False)
    axes.set_yticks(named, names, fontsize="small", parse_math=False)
    return figure


def _draw_counts(axes: "Axes", counts: NDArray[np.int64]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for truth, predicted in np.ndindex(counts.shape):
        colour = "white" if shares[truth, predicted] > 0.5 else "black"
        axes.text(predicted, truth, str(counts[truth, predicted]), ha="center", va="center", color=colour)


def _draw_marks(axes: "Axes", counts: NDArray[np.int64]) -> None:
    """As cells, lone mistakes among a thousand labels would be too small to see."""
    truths, predictions = np.nonzero(counts)
    shares = counts[truths, predictions] / counts.sum(axis=1)[truths]
    size = max(4.0, 10_000 / len(counts) ** 1.4)
    marks = axes.scatter(predictions, truths, s=size, c=shares, marker="s", cmap="viridis_r", vmin=0, vmax=1)
    axes.set(xlim=(-1, len(counts)), ylim=(len(counts), -1), aspect="equal")
    axes.figure.colorbar(marks, label="share of the truth's images", shrink=0.6)


def _chosen(metrics: Metrics, area: Callable[[Curves], Estimate]) -> Iterator[tuple[str, Curves, Style]]:
    """Both averages, then the labels with the smallest areas."""
    yield "micro", metrics.micro, {"color": VERMILION, "linestyle": "--", "linewidth": 2}
    yield "macro", metrics.macro, {"color": BLUE, "linewidth": 2}
    known = [(value, label) for label in metrics.labels if (value := area(label.curves).value) is not None]
    worst = sorted(known, key=lambda pair: pair[0])[:DRAWN_LABELS]
    for (_, label), colour, dashes in zip(worst, COLOURS, DASHES, strict=False):
        yield shortened(label.label), label.curves, {"color": colour, "linestyle": dashes, "linewidth": 1.2}


def _axes(title: str, x: str, y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure((6, 5.4), dpi=130, layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y, title=title)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _finished(figure: "Figure") -> Plot:
    legend = figure.legend(loc="outside lower center", frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return Plot(figure)


def _legend(name: str, area: Estimate) -> str:
    """A name that begins with an underscore would be left out of a legend; a space before it is not seen."""
    shown = "undefined" if area.value is None else f"{area.value:.3f}"
    return f" {name} {shown}" if area.low is None else f" {name} {shown} ({area.low:.3f} to {area.high:.3f})"


def shortened(text: str, length: int = 26) -> str:
    """With an ellipsis when it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
