"""The training loop: one epoch, and a net's answers on a data set. Both read from top to bottom.

With several processes each takes its share of every minibatch. What the loop computes is then the same as with one.
"""

import time
from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.errors import SettingError
from training.fit.minibatches import Images, Read, generator, shuffled
from training.fit.state import FitState
from training.progress import Progress

EVALUATION_BATCH = 32


def train_one_epoch(
    net: nn.Module, fit: FitState, images: Images, accelerator: Accelerator, *, progress: Progress
) -> None:
    """The rest of the epoch that `fit.progressed` stands in; `net` is `fit.net`, as Accelerate prepared it.

    Raises Interrupted, between two steps, when that was asked for, and SettingError once the loss is not finite.
    """
    recipe, progressed = fit.recipe, fit.progressed
    processes, own = accelerator.num_processes, accelerator.process_index
    parts = shuffled(len(images), recipe.batch_size, fit.seed, progressed.epoch, processes=processes)
    set_training(net, frozen_batch_norm=recipe.frozen_batch_norm)
    weights, device = fit.class_weights, accelerator.device
    draws = [
        torch.randint(2**62, (len(part),), generator=generator(fit.seed, progressed.epoch, step))
        for step, part in enumerate(parts)
    ]
    own_share = [(part[own::processes], draw[own::processes]) for part, draw in zip(parts, draws, strict=True)]
    minibatches = images.changed(own_share[progressed.step :], recipe.augmentation)
    for part in parts[progressed.step :]:
        began = time.perf_counter()
        pixels, targets = next(minibatches)
        pixels, targets = pixels.to(device, non_blocking=True), targets.to(device, non_blocking=True)
        waited = time.perf_counter() - began
        fit.set_rate(progressed.epoch + (progressed.step + 0.5) / len(parts))
        torch.manual_seed(generator(fit.seed, progressed.epoch, progressed.step, own).initial_seed())  # for dropout
        logits = net(pixels)
        # Each image's loss times the weight of its own label. torch's argument would weigh the smoothed share of every
        # other label too, and pull all images towards a rare one.
        losses = cross_entropy(logits, targets, reduction="none", label_smoothing=recipe.label_smoothing)
        loss_sum = (losses if weights is None else losses * weights[targets]).sum()
        # The mean over the whole minibatch; Accelerate takes the mean over the processes.
        divisor = len(part) if weights is None else weights[images.targets[part].to(device)].sum()
        loss = loss_sum * processes / divisor
        fit.optimizer.zero_grad()
        accelerator.backward(loss)
        fit.optimizer.step()

        seen = torch.stack([loss_sum.detach() * len(part) / divisor, (logits.argmax(1) == targets).sum()])
        loss_of_all, correct = accelerator.reduce(seen).tolist()
        progressed.add(len(part), loss_of_all, correct, seconds=time.perf_counter() - began, waited_seconds=waited)
        if not progressed.loss_sum < float("inf"):
            raise SettingError("The loss is no longer finite: the net has diverged. Train with lower learning rates.")
        progress.advance(len(part), str(progressed))
        fit.stop_when_asked(accelerator)
    if processes > 1:
        # Batch normalisation's statistics are each process's own: all go on with those that are exported.
        for statistics in fit.net.buffers():
            torch.distributed.broadcast(statistics, src=0)


def set_training(net: nn.Module, *, frozen_batch_norm: bool) -> None:
    """Training mode; batch normalisation goes on with the statistics it has when they are frozen."""
    net.train()
    if frozen_batch_norm:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


@torch.inference_mode()
def infer(function: Callable[[Tensor], Tensor], images: Read, accelerator: Accelerator, progress: Progress) -> Tensor:
    """`function` of every image's pixels, float32 [images, width] on the CPU, in their order.

    Each process computes a share, and all of them get the whole.
    """
    processes, own = accelerator.num_processes, accelerator.process_index
    rows = -(-len(images) // processes)
    mine = [(row * processes + own) % len(images) for row in range(rows)]  # the last share may hold some twice
    parts = [mine[start : start + EVALUATION_BATCH] for start in range(0, rows, EVALUATION_BATCH)]
    answers = []
    # A GPU's TF32 convolutions keep 10 bits of mantissa: too few to agree with the model file to 4 digits.
    with torch.backends.cudnn.flags(allow_tf32=False):
        for pixels, _ in images.minibatches(parts):
            answers.append(function(pixels.to(accelerator.device)).float())
            progress.advance(len(pixels) * processes)
    whole: Tensor = accelerator.gather(torch.cat(answers)).cpu()
    return whole.view(processes, rows, -1).transpose(0, 1).reshape(processes * rows, -1)[: len(images)]
