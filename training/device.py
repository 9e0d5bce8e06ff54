"""The device that training computes on, through Accelerate."""

from typing import Literal, get_args

import torch
from accelerate import Accelerator

from training.errors import SettingError

Device = Literal["auto", "cpu", "cuda"]


def make_accelerator(device: Device = "auto") -> Accelerator:
    """`auto` takes a GPU when there is one. Raises SettingError for a GPU that was asked for and is not there."""
    if device not in get_args(Device):
        raise SettingError(f"There is no device '{device}'. Choose one of: {', '.join(get_args(Device))}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError(
            "The device 'cuda' was asked for, but torch finds no CUDA GPU. Check the driver and that torch is a CUDA "
            "build, or take '--device cpu'."
        )
    try:
        return Accelerator(cpu=device == "cpu")
    except ValueError as error:
        raise SettingError(f"This process already computes on another device than '{device}': start anew.") from error
