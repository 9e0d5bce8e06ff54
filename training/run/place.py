"""What can be told of a run before torch is imported and before a photo is opened: numbers, places, names, a driver."""

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

from training.dataset.reading.own import TENSORBOARD
from training.dataset.reading.places import refuse_inside
from training.dataset.split.file import check_split
from training.errors import DatasetError, SettingError
from training.fit.recipe.recipe import ClassWeights, check_weights
from training.nets.choice import check_base, check_size
from training.ranges import FALSE_ALARMS, SEED, SVM_C, THRESHOLD, check_shares

DRIVERS = ("libcuda.so.1", "libamdhip64.so")
"""That of NVIDIA's GPUs and that of AMD's, which torch calls cuda, too."""
AMD_GPU = Path("/dev/kfd")


def check_place(
    data: Path,
    out: Path,
    *,
    base: str,
    weights: str,
    device: str = "auto",
    mixed_precision: str = "auto",
    tensorboard: Path | None = None,
    split_file: Path | None = None,
) -> None:
    """Raises SettingError, WeightsError for weights that are not there, and DatasetError for photos that are not, or
    for a split file that is none.
    """
    check_base(base, weights)
    if out.exists() and not out.is_dir():
        raise SettingError(f"The run folder {out} is a file. Name another folder with --out.")
    if tensorboard is not None:
        _check_tensorboard(tensorboard, out)
        refuse_inside(data, tensorboard, "The TensorBoard folder")
    refuse_inside(data, out, "The run folder")
    if split_file is not None:
        empty = [part for part in ("train", "test") if part not in check_split(split_file)]
        if empty:
            raise SettingError(f"{split_file} has no images for the part {' and '.join(empty)}. Split again.")
    if device == "cuda" and not _has_driver():
        raise SettingError(
            "The device 'cuda' was asked for, but this machine has no driver of a GPU, so torch finds no CUDA GPU. "
            "Install it, or take '--device cpu'."
        )
    if mixed_precision == "fp16" and device == "cpu":
        raise SettingError("The mixed precision 'fp16' needs a GPU. Take '--mixed-precision no' on a CPU.")


def check_photos(data: Path) -> None:
    """Whether there is such a folder. Raises DatasetError."""
    try:
        with os.scandir(data):
            return
    except OSError as error:
        raise DatasetError(f"Cannot read {data}: {error.strerror}. Give a readable folder.") from error


def check_numbers(
    *,
    image_size: tuple[int, int],
    seed: int,
    svm_c: float,
    class_weights: ClassWeights,
    thresholds: Mapping[str, float],
    max_false_alarms: float,
    test_size: float,
    val_size: float | None,
) -> None:
    """Raises SettingError for one that cannot be meant."""
    check_size(*image_size)
    SEED.check(seed)
    SVM_C.check(svm_c)
    check_weights(class_weights)
    for label, threshold in thresholds.items():
        THRESHOLD.check(threshold, label)
    FALSE_ALARMS.check(max_false_alarms)
    check_shares(test_size=test_size, val_size=val_size)


def _check_tensorboard(folder: Path, out: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"The TensorBoard folder {folder} is a file. Name another folder with --tensorboard.")
    inside = folder.resolve().is_relative_to(out.resolve())
    if inside and folder.resolve().relative_to(out.resolve()).parts[:1] != (TENSORBOARD,):
        raise SettingError(f"The TensorBoard folder {folder} lies in the run folder: name it {out / TENSORBOARD}.")


def _has_driver() -> bool:
    """Without one torch finds no GPU either; with one it still has to look."""
    if AMD_GPU.exists():
        return True
    for name in DRIVERS:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
