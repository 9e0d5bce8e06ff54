"""What happened in each epoch, as data."""

from dataclasses import dataclass


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
