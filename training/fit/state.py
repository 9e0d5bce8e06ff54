"""A fit in progress: all that changes while a net is trained, and all that a checkpoint has to keep.

Random numbers are not among it: each step draws its own from seed, epoch and step (`minibatches.generator`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

from training.errors import Interrupted
from training.fit.history import Epoch
from training.fit.recipe.recipe import Recipe
from training.nets.nets import PixelNet, Tail


@dataclass(frozen=True)
class TrainedOn:
    """The training images, as facts for the provenance."""

    data_fingerprint: str
    counts: dict[str, int]
    seed: int
    class_weights: dict[str, float] | None = None
    """What an image of each label counted; None where all counted alike."""


@dataclass
class Progressed:
    """How far it has come: whole epochs, then steps, with the sums of the epoch so far."""

    epoch: int = 0
    step: int = 0
    images: int = 0
    loss_sum: float = 0.0
    correct: float = 0.0
    seconds: float = 0.0
    waited_seconds: float = 0.0
    """For the next minibatch's images."""
    epochs: list[Epoch] = field(default_factory=list)
    fold: int = 0
    earlier: list[list[Epoch]] = field(default_factory=list)
    """Of the folds before this one."""

    def add(self, images: int, loss_sum: float, correct: float, *, seconds: float, waited_seconds: float) -> None:
        """A step is done."""
        self.step += 1
        self.images += images
        self.loss_sum += loss_sum
        self.correct += correct
        self.seconds += seconds
        self.waited_seconds += waited_seconds

    def __str__(self) -> str:
        return (
            f"loss {self.loss_sum / self.images:.4f}  accuracy {self.correct / self.images:.3f}  "
            f"{self.images / self.seconds:.0f} images/s, {self.waited_seconds / self.seconds:.0%} waiting"
        )


@dataclass
class FitState:
    """One fit of `net` by `recipe`."""

    net: PixelNet | Tail
    recipe: Recipe
    seed: int
    class_weights: Tensor | None = None
    """float32 [classes], on the net's device; None counts all images alike."""
    asked_to_stop: Callable[[], bool] = lambda: False
    progressed: Progressed = field(default_factory=Progressed)
    start: dict[str, Tensor] = field(default_factory=dict)
    """The parameters before the first step, when the recipe's average needs them."""
    carried: dict[str, Tensor] = field(default_factory=dict)
    """What the folds before this one came to, where the recipe has folds."""

    def __post_init__(self) -> None:
        recipe = self.recipe
        layers, head = self.net.learned
        groups = [
            {"params": list(layers.parameters()), "share": recipe.backbone_rate},
            {"params": list(head.parameters()), "share": 1.0},
        ]
        self.optimizer: torch.optim.Optimizer
        if recipe.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(groups, 0.0, recipe.momentum, weight_decay=recipe.weight_decay)
        else:
            self.optimizer = torch.optim.AdamW(groups, 0.0, weight_decay=recipe.weight_decay)
        if recipe.average:
            self.start = {name: tensor.detach().clone() for name, tensor in self.net.named_parameters()}

    def set_rate(self, at: float) -> None:
        """The recipe's learning rate at a point of time in epochs."""
        rate = self.recipe.schedule.rate(at)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]

    def end_epoch(self, eval_accuracy: float | None, eval_seconds: float) -> Epoch:
        """Put the epoch among the others and begin the next one."""
        done = self.progressed
        ended = Epoch(
            epoch=done.epoch + 1,
            learning_rate=self.recipe.schedule.rate(done.epoch + 0.5),
            loss=done.loss_sum / done.images,
            train_accuracy=done.correct / done.images,
            eval_accuracy=eval_accuracy,
            images_per_second=done.images / done.seconds,
            waiting_share=done.waited_seconds / done.seconds,
            seconds=done.seconds + eval_seconds,
        )
        self.progressed = Progressed(
            epoch=done.epoch + 1, epochs=[*done.epochs, ended], fold=done.fold, earlier=done.earlier
        )
        return ended

    def stop_when_asked(self, accelerator: Accelerator) -> None:
        """Raises Interrupted in all processes when one of them was asked to stop."""
        asked = self.asked_to_stop()
        if accelerator.num_processes > 1:
            flag = torch.tensor([float(asked)], device=accelerator.device)
            asked = bool(accelerator.reduce(flag).item())
        if asked:
            raise Interrupted(
                f"Stopped after epoch {self.progressed.epoch}, step {self.progressed.step} of the next one."
            )

    @torch.no_grad()
    def average(self) -> None:
        """Move the net from where it has come to towards where it started, by the recipe's share."""
        for name, parameter in self.net.named_parameters():
            if name in self.start:
                parameter.lerp_(self.start[name].to(parameter.device), self.recipe.average)
