"""What happened in each epoch, as data."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


WIDTH = 640
"""Of the picture in a notebook, in CSS pixels."""


@dataclass(frozen=True)
class Epoch:
    """`loss` and `train_accuracy` are running means over the epoch, with augmentation and dropout in force;
    `learning_rate` is the last layer's in the middle of it.
    """

    epoch: int
    learning_rate: float
    loss: float
    train_accuracy: float
    eval_accuracy: float | None
    images_per_second: float
    """Training images over the seconds spent on them, without the evaluation."""
    waiting_share: float
    """Share of those seconds in which the net waited for images."""
    seconds: float

    def __str__(self) -> str:
        evaluated = "" if self.eval_accuracy is None else f"  validation {self.eval_accuracy:.3f}"
        return (
            f"epoch {self.epoch:>3}  rate {self.learning_rate:.5f}  loss {self.loss:.4f}  "
            f"accuracy {self.train_accuracy:.3f}{evaluated}  {self.images_per_second:.0f} images/s"
        )


@dataclass(frozen=True)
class History:
    """The epochs of one fit, in order."""

    epochs: tuple[Epoch, ...]

    @property
    def train_accuracies(self) -> tuple[float, ...]:
        """One for each epoch."""
        return tuple(epoch.train_accuracy for epoch in self.epochs)

    @property
    def eval_accuracies(self) -> tuple[float | None, ...]:
        """One for each epoch, None where there was no evaluation."""
        return tuple(epoch.eval_accuracy for epoch in self.epochs)

    def plot(self) -> "Figure":
        """Both accuracies over the epochs. Raises SettingError when there are no epochs."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        if not self.epochs:
            raise SettingError("There are no epochs to plot: fit all layers first, with Classifier.fit.")
        figure = Figure((7, 4), dpi=150, layout="constrained")
        axes = figure.add_subplot(xlabel="epoch", ylabel="accuracy", title="Accuracy in each epoch")
        numbers = [epoch.epoch for epoch in self.epochs]
        # Blue and vermilion of Okabe and Ito (2008) differ for every eye; marks and dashes differ without colour.
        axes.plot(numbers, self.train_accuracies, "o-", color="#0072b2", label="training, mean over the epoch")
        evaluated = [(epoch.epoch, epoch.eval_accuracy) for epoch in self.epochs if epoch.eval_accuracy is not None]
        if evaluated:
            axes.plot(*zip(*evaluated, strict=True), "s--", color="#d55e00", label="validation, after the epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(top=1.02)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return figure

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        if not self.epochs:
            return None
        picture = io.BytesIO()
        self.plot().savefig(picture, format="png")
        return picture.getvalue(), {"width": WIDTH}
