"""The training loop: one epoch, and the logits of a data set. Both read from top to bottom."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.errors import SettingError
from training.images import Minibatch
from training.progress import Progress


@dataclass(frozen=True)
class EpochMeans:
    """Means over the images of an epoch, as they were when each minibatch was seen."""

    loss: float
    accuracy: float


def train_one_epoch(
    net: nn.Module,
    minibatches: Iterable[Minibatch],
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    progress: Progress,
    flips: torch.Generator | None = None,
) -> EpochMeans:
    """Every minibatch once. With `flips`, half of the images are mirrored left to right.

    Raises SettingError as soon as the loss is not finite.
    """
    net.train()
    images, loss_sum, correct = 0, 0.0, 0
    for pixels, targets in minibatches:
        logits = net(pixels if flips is None else flip_half(pixels, flips))
        loss = cross_entropy(logits, targets)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()

        images += len(targets)
        loss_sum += loss.item() * len(targets)
        correct += int((logits.argmax(1) == targets).sum())
        if not torch.isfinite(loss):
            raise SettingError("The loss is no longer finite: the net has diverged. Train with lower learning rates.")
        progress.advance(len(targets), f"loss {loss_sum / images:.4f}  accuracy {correct / images:.3f}")
    return EpochMeans(loss_sum / images, correct / images)


def set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """From the next step on, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


@torch.inference_mode()
def evaluate(net: nn.Module, minibatches: Iterable[Minibatch], accelerator: Accelerator) -> Tensor:
    """Logits of every image, float32 [images, classes] on the CPU, in the order of the minibatches."""
    net.eval()
    # A GPU's TF32 convolutions keep 10 bits of mantissa: too few to agree with the model file to 4 digits.
    with torch.backends.cudnn.flags(allow_tf32=False):
        logits = [accelerator.gather_for_metrics(net(pixels)) for pixels, _ in minibatches]
    return torch.cat(logits).float().cpu()


def flip_half(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 [batch, height, width, 3], each image mirrored left to right with probability one half."""
    mirrored = torch.rand(len(pixels), generator=generator) < 0.5
    return torch.where(mirrored.to(pixels.device).view(-1, 1, 1, 1), pixels.flip(2), pixels)
