"""A fit by folds: each fold's blocks start alike and learn from the other folds; the net gets the mean of all of them
(Wortsman et al., "Model soups", 2022).

So every photo is learnt by all folds but one and judged by that one: accuracy and temperature come from photos that
were not learnt, and none is put aside.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from salver.text import counted
from training.fit.epochs import Fitting, train_epochs
from training.fit.heads.linear import Linear, put_layer
from training.fit.heads.out_of_fold import OutOfFold
from training.fit.history import Epoch
from training.fit.loop import EVALUATION_BATCH
from training.fit.minibatches import generator
from training.fit.state import FitState
from training.fit.tail.maps import Maps
from training.nets.nets import PixelNet, Tail
from training.progress import Progress


class Folded:
    """What the folds of a fit come to: the sum of their weights, and the answers for the photos that each left out."""

    def __init__(self, maps: Maps, folds: NDArray[np.int64], classes: int) -> None:
        self._maps, self._folds = maps, folds
        self.count = max(1, int(folds.max(initial=-1)) + 1)
        self._sums: dict[str, Tensor] = {}
        self._logits = torch.full((len(maps), classes), torch.nan)

    def learnt(self, number: int) -> NDArray[np.bool_]:
        """[images]: which photos the fold learns from."""
        return np.not_equal(self._folds, number)

    @torch.inference_mode()
    def add(self, number: int, tail: Tail, accelerator: Accelerator) -> None:
        """The fold is trained."""
        held = ~self.learnt(number)
        if held.any():
            self._logits[held] = _answers(tail, self._maps.of(np.flatnonzero(held)), accelerator)
        for name, parameter in tail.named_parameters():
            self._sums[name] = self._sums[name] + parameter if name in self._sums else parameter.clone()

    def line(self, number: int, last: Epoch) -> str:
        """What a fold came to."""
        held = ~self.learnt(number)
        found = f"accuracy {last.train_accuracy:.3f} in its last epoch"
        if not held.any():
            return found
        right = (self._logits[held].argmax(1) == self._maps.targets[held]).float().mean().item()
        return f"{found}, {right:.3f} of the {counted(int(held.sum()), 'photo')} that it did not learn"

    def carried(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"logits": self._logits} | {f"sum.{name}": tensor for name, tensor in self._sums.items()}

    def restore(self, carried: dict[str, Tensor], device: torch.device) -> None:
        """From a checkpoint."""
        self._logits = carried["logits"].clone()
        self._sums = {name[4:]: tensor.to(device) for name, tensor in carried.items() if name.startswith("sum.")}

    def finish(self, tail: Tail) -> OutOfFold:
        """Give the blocks the mean of all folds."""
        with torch.no_grad():
            for name, parameter in tail.named_parameters():  # and not the statistics, which are those of the start
                parameter.copy_(self._sums[name] / self.count)
        return OutOfFold(self._logits.numpy(), self._maps.targets.numpy(), self._folds)


def fit_last_blocks(
    net: PixelNet,
    maps: Maps,
    folds: NDArray[np.int64],
    first_layer: Callable[[NDArray[np.bool_]], Linear],
    how: Fitting,
    accelerator: Accelerator,
    *,
    watched: Maps | None = None,
    progress: Progress,
) -> tuple[OutOfFold, tuple[Epoch, ...]]:
    """Train the last blocks and the last layer of `net`; the answers of each photo's own fold, and the epochs.

    `folds` [images] is -1 for a photo that every fold learns; where there are none, all are learnt at once and none is
    judged. `first_layer` gives the last layer to start with, of the photos to learn from, [images]. The epochs are
    means over the folds, which `watched` decides nothing in. Raises as `train_epochs`.
    """
    tail = Tail(net.net)
    folded = Folded(maps, folds, net.net.head.out_features)
    start = {name: tensor.detach().clone() for name, tensor in tail.state_dict().items()}
    fit = _begin(tail, how, 0)
    going_on = how.kept is not None and how.kept.load(fit)
    if going_on:
        folded.restore(fit.carried, accelerator.device)
        done = fit.progressed
        progress.report(f"going on in fold {done.fold + 1} of {folded.count}, after epoch {done.epoch}")
    earlier = fit.progressed.earlier
    for number in range(fit.progressed.fold, folded.count):
        learnt = folded.learnt(number)
        if not going_on:
            tail.load_state_dict(start)
            put_layer(tail.head, first_layer(learnt))
            fit = _begin(tail, how, number)
            fit.progressed.earlier = earlier
            fit.carried = folded.carried()
        going_on = False
        stage = f"training, fold {number + 1} of {folded.count}"
        train_epochs(
            fit,
            maps.of(np.flatnonzero(learnt)),
            accelerator,
            accuracy=None if watched is None else lambda: _accuracy(tail, watched, accelerator),
            kept=how.kept,
            told=lambda _: None,
            progress=_Bar(progress, stage),
        )
        folded.add(number, tail, accelerator)
        earlier = [*earlier, fit.progressed.epochs]
        progress.report(f"fold {number + 1} of {folded.count}: {folded.line(number, fit.progressed.epochs[-1])}")
    return folded.finish(tail), tuple(_mean(epochs) for epochs in zip(*earlier, strict=True))


def _begin(tail: Tail, how: Fitting, number: int) -> FitState:
    """A fold's fit: what is random in it depends on seed and number alone, whatever was fitted before it."""
    seed = generator(how.seed, number).initial_seed()
    fit = FitState(tail, how.recipe, seed, how.class_weights, how.asked_to_stop)
    fit.progressed.fold = number
    return fit


@torch.inference_mode()
def _answers(tail: Tail, maps: Maps, accelerator: Accelerator) -> Tensor:
    """Logits [images, classes] of the photos as they are."""
    tail.eval()
    parts = torch.split(torch.arange(len(maps)), EVALUATION_BATCH)
    return torch.cat([tail(maps.unchanged(part).to(accelerator.device)).float().cpu() for part in parts])


def _accuracy(tail: Tail, maps: Maps, accelerator: Accelerator) -> float:
    return float((_answers(tail, maps, accelerator).argmax(1) == maps.targets).float().mean())


@dataclass(frozen=True)
class _Bar:
    """Of a fold's progress the bar alone: its epochs are too many lines."""

    progress: Progress
    stage: str

    def begin(self, _: str, total: int) -> None:
        """Under the fold's name."""
        self.progress.begin(self.stage, total)

    def advance(self, images: int, note: str = "") -> None:
        """So many images more."""
        self.progress.advance(images, note)

    def report(self, line: str) -> None:
        """Left out."""


def _mean(epochs: Sequence[Epoch]) -> Epoch:
    """Of one epoch of each fold."""
    watched = [epoch.eval_accuracy for epoch in epochs if epoch.eval_accuracy is not None]
    return Epoch(
        epoch=epochs[0].epoch,
        learning_rate=epochs[0].learning_rate,
        loss=fmean(epoch.loss for epoch in epochs),
        train_accuracy=fmean(epoch.train_accuracy for epoch in epochs),
        eval_accuracy=fmean(watched) if len(watched) == len(epochs) else None,
        images_per_second=fmean(epoch.images_per_second for epoch in epochs),
        waiting_share=fmean(epoch.waiting_share for epoch in epochs),
        seconds=sum(epoch.seconds for epoch in epochs),
    )
