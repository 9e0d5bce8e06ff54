"""How one fit goes: all that is decided before it begins."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from training.fit.checkpoint import Checkpoint
from training.fit.recipe import Recipe


@dataclass(frozen=True)
class Fitting:
    """By which recipe, with which random numbers, and how it is stopped and gone on with."""

    recipe: Recipe
    seed: int = 0
    class_weights: Tensor | None = None
    """float32 [classes], on the net's device; None counts all images alike."""
    asked_to_stop: Callable[[], bool] = lambda: False
    kept: Checkpoint | None = None
    compiled: bool = False
