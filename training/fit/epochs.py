"""How a fit goes: the epochs that are left of it, each watched, kept and told; then the average."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from training.errors import Interrupted
from training.fit.checkpoint import Checkpoint
from training.fit.history import Epoch
from training.fit.loop import train_one_epoch
from training.fit.minibatches import Images
from training.fit.recipe.recipe import Recipe
from training.fit.state import FitState
from training.progress import Progress


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


def train_epochs(
    fit: FitState,
    images: Images,
    accelerator: Accelerator,
    *,
    compiled: bool = False,
    accuracy: Callable[[], float] | None,
    kept: Checkpoint | None,
    told: Callable[[Sequence[Epoch]], None],
    progress: Progress,
) -> None:
    """Go on with `fit` to its last epoch.

    After each, `accuracy` says how well its net does on the images that are watched, the checkpoint is `kept`, and
    `told` gets all epochs so far. Raises as `train_one_epoch` does; where that was asked to stop, what is done is kept.
    """
    total = fit.recipe.schedule.epochs
    net, fit.optimizer = accelerator.prepare(fit.net, fit.optimizer)
    if compiled:
        net = torch.compile(net)
    progress.begin("training", len(images) * (total - fit.progressed.epoch))
    progress.advance(fit.progressed.images)
    told(fit.progressed.epochs)
    with torch.random.fork_rng(devices=[]):
        try:
            while fit.progressed.epoch < total:
                train_one_epoch(net, fit, images, accelerator, progress=progress)
                start = time.perf_counter()
                reached = accuracy() if accuracy else None
                epoch = fit.end_epoch(reached, time.perf_counter() - start)
                progress.report(f"{epoch}  {_remaining(fit.progressed.epochs, total)}")
                _keep(kept, fit, accelerator)
                told(fit.progressed.epochs)
        except Interrupted:
            _keep(kept, fit, accelerator)
            raise
        finally:
            fit.net = accelerator.unwrap_model(net, keep_fp32_wrapper=False, keep_torch_compile=False)
            accelerator.free_memory()
    fit.average()


def _keep(kept: Checkpoint | None, fit: FitState, accelerator: Accelerator) -> None:
    """Of several processes one writes, and the others wait for it."""
    if kept is not None and accelerator.is_main_process:
        kept.save(fit)
    accelerator.wait_for_everyone()


def _remaining(epochs: Sequence[Epoch], total: int) -> str:
    seconds = sum(epoch.seconds for epoch in epochs) / len(epochs) * (total - len(epochs))
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"
