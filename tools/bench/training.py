"""`make bench-train`: what training adds to the net's own arithmetic, as ratios of turns in one run."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import cross_entropy

from loadtest.traffic.photos import SIZES, render
from training.dataset.dataset import Dataset
from training.fit.device import keep_large_blocks, make_accelerator
from training.fit.loop import infer, set_training, train_one_epoch
from training.fit.minibatches import Minibatches
from training.fit.recipe.recipe import GENTLE
from training.fit.state import FitState
from training.nets.nets import PixelNet, build_net, pixel_spec
from training.progress import Silent

PLAIN = "mobilenet_v2: fine-tuning / plain NCHW loop with two loader workers"
PEAK = "peak memory with 10,000 photos / with 1,000"
BARS = {
    "resnet18: fine-tuning / forward and backward": 0.90,
    "mobilenet_v2: fine-tuning / forward and backward": 0.90,
    PLAIN: 3.0,
    "resnet18: feature extraction / forward": 0.85,
    "mobilenet_v2: feature extraction / forward": 0.85,
}
HIGHEST_PEAK = 1.10
PHOTOS, MINIBATCH, ROUNDS = 128, 32, 3
PEAK_PHOTOS, PEAK_SIDE = (1_000, 10_000), 112
RECIPE = replace(GENTLE, batch_size=MINIBATCH)

Figures = dict[str, list[float]]


def write_photos(folder: Path, count: int) -> Dataset:
    """640 x 480 JPEGs, two labels."""
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(SIZES["vga"], number))
    return Dataset.from_dir(folder)


def measure_net(figures: Figures, base: str, dataset: Dataset, side: int = 224) -> None:
    """Fine-tuning and feature extraction from files, each beside its arithmetic on pixels that are there."""
    keep_large_blocks()
    accelerator = make_accelerator("cpu")
    images = Minibatches(dataset, dataset.labels, pixel_spec(side), memory_budget_bytes=0, decode_now=False)
    torch.manual_seed(0)
    net = PixelNet(build_net(base, len(dataset.labels), "none")).to(memory_format=torch.channels_last)
    pixels, targets = images.read(range(min(MINIBATCH, len(images))))
    step, epoch = FitState(net, RECIPE, 0), FitState(net, RECIPE, 0)
    compute = _images_per_second(lambda: _step(step, pixels, targets, accelerator), len(pixels), 4)
    tuned = _images_per_second(lambda: _epoch(epoch, images, accelerator), len(images), 1)
    net.eval()
    forward = _images_per_second(lambda: _forward(net, pixels), len(pixels), 4)
    extracted = _images_per_second(lambda: infer(net.features, images, accelerator, Silent()), len(images), 1)
    _note(figures, f"{base}: fine-tuning, images/s", tuned)
    _note(figures, f"{base}: fine-tuning / forward and backward", tuned / compute)
    _note(figures, f"{base}: feature extraction, images/s", extracted)
    _note(figures, f"{base}: feature extraction / forward", extracted / forward)


def _step(fit: FitState, pixels: Tensor, targets: Tensor, accelerator: Accelerator) -> None:
    """What a step of fine-tuning computes, without files and bookkeeping."""
    set_training(fit.net, frozen_batch_norm=RECIPE.frozen_batch_norm)
    loss = cross_entropy(fit.net(pixels), targets, label_smoothing=RECIPE.label_smoothing)
    fit.optimizer.zero_grad()
    accelerator.backward(loss)
    fit.optimizer.step()


def _epoch(fit: FitState, images: Minibatches, accelerator: Accelerator) -> None:
    train_one_epoch(fit.net, fit, images, accelerator, progress=Silent())
    fit.end_epoch(None, 0.0)


@torch.inference_mode()
def _forward(net: PixelNet, pixels: Tensor) -> None:
    net.features(pixels)


def _images_per_second(work: Callable[[], object], images: int, times: int) -> float:
    work()  # the first time lays out memory
    began = time.perf_counter()
    for _ in range(times):
        work()
    return images * times / (time.perf_counter() - began)


def measure_peak(figures: Figures) -> None:
    """Peak memory of one epoch and its evaluation, in a process for each number of photos."""
    few, many = (float(_own_process("-m", "tools.bench.training", "--peak", str(count))) for count in PEAK_PHOTOS)
    _note(figures, "peak memory with 1,000 photos, MiB", few)
    _note(figures, PEAK, many / few)


def peak_mebibytes(count: int, side: int = PEAK_SIDE) -> float:
    """This process's, after one epoch of MobileNetV2 over so many photos."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_photos(Path(folder), count)
        keep_large_blocks()
        accelerator = make_accelerator("cpu")
        images = Minibatches(dataset, dataset.labels, pixel_spec(side))
        net = PixelNet(build_net("mobilenet_v2", 2, "none")).to(memory_format=torch.channels_last)
        _epoch(FitState(net, RECIPE, 0), images, accelerator)
        infer(net.eval(), images, accelerator, Silent())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def time_whole_command(figures: Figures, photos: Path) -> None:
    """`salver train` with MobileNetV2's offline weights, from the folder to the gate passed."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        options = ["--base", "mobilenet_v2", "--weights", "offline"]
        _own_process("-m", "training", str(photos), "--out", out, *options)
        _note(figures, f"{photos.name}: folder to gate, s", time.perf_counter() - began)
        metrics = json.loads((Path(out) / "metrics.json").read_text())
        _note(figures, f"{photos.name}: test accuracy", metrics["test"]["accuracy"]["value"])


def _own_process(*words: str) -> str:
    return subprocess.run([sys.executable, "-P", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def _note(figures: Figures, measure: str, figure: float) -> None:
    figures.setdefault(measure, []).append(figure)
    print(f"  {measure}: {figure:.3f}", flush=True)  # noqa: T201


def report(figures: Figures, path: Path) -> bool:
    """Print the medians beside their bars and write all figures; whether every bar that was measured is met."""
    missed = False
    for measure, rounds in figures.items():
        figure = median(rounds)
        met = figure >= BARS.get(measure, 0.0) if measure != PEAK else figure <= HIGHEST_PEAK
        bar = f"bar {HIGHEST_PEAK if measure == PEAK else BARS[measure]:g}" if measure in {*BARS, PEAK} else ""
        print(f"{measure:<72} {figure:>9.3f}  {bar} {'' if met else 'MISSED'}")  # noqa: T201
        missed |= not met
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2))
    return not missed


def main() -> int:
    """Measure, print, write; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.training", description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of labelled photos to time the whole command on")
    parser.add_argument("--json", type=Path, default=Path("build/bench-train.json"), help="where to write the figures")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(peak_mebibytes(arguments.peak))  # noqa: T201
        return 0
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_photos(Path(folder), PHOTOS)
        for number in range(1, ROUNDS + 1):
            print(f"round {number} of {ROUNDS}", flush=True)  # noqa: T201
            measure_net(figures, "resnet18", dataset)
            measure_net(figures, "mobilenet_v2", dataset)
            plain = float(_own_process("-m", "tools.bench.plain_loop", folder))
            _note(figures, PLAIN, figures["mobilenet_v2: fine-tuning, images/s"][-1] / plain)
    measure_peak(figures)
    if arguments.photos:
        time_whole_command(figures, arguments.photos)
    return 0 if report(figures, arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
