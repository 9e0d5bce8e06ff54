"""Learning rates, one per epoch."""

import math
import re
from collections.abc import Sequence

from training.errors import SettingError

DEFAULT_EPOCHS = 10
DEFAULT_PEAK_RATE = 0.01


def default_schedule(epochs: int = DEFAULT_EPOCHS, peak: float = DEFAULT_PEAK_RATE) -> tuple[float, ...]:
    """Half the peak, then a half cosine from the peak down towards 0 (Loshchilov and Hutter, 2017)."""
    if epochs < 1:
        raise SettingError(f"{epochs} epochs were asked for; train for 1 or more.")
    falling = [peak * (1 + math.cos(math.pi * step / (epochs - 1))) / 2 for step in range(epochs - 1)]
    return (peak / 2, *falling)


def schedule_from(epochs: int | None, text: str | None) -> tuple[float, ...]:
    """From the options --epochs and --learning-rates, of which at most one may be given."""
    if text is None:
        return default_schedule(epochs or DEFAULT_EPOCHS)
    if epochs is not None:
        raise SettingError("Give --epochs or --learning-rates, not both: the rates already say how many epochs.")
    return parse_schedule(text)


def parse_schedule(text: str) -> tuple[float, ...]:
    """ "0.01*8,0.001*2" is eight epochs at 0.01, then two at 0.001. Raises SettingError for anything else."""
    rates: list[float] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(?:\*\s*([0-9]{1,4}))?\s*", part)
        try:
            rates += [float(match[1])] * int(match[2] or 1) if match else [math.nan]
        except ValueError:
            rates += [math.nan]
    return check_schedule(rates, text)


def check_schedule(rates: Sequence[float], text: str | None = None) -> tuple[float, ...]:
    """The rates as they are. Raises SettingError when there is none, or one is not a positive finite number."""
    if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise SettingError(
            f"The learning rates {text or list(rates)!r} are not a schedule: give one positive number for each epoch, "
            "such as 0.01*8,0.001*2 for ten epochs."
        )
    return tuple(rates)
