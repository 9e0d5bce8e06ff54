"""Learning rates: one an epoch as a list says, or a warm-up and half a cosine."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.errors import SettingError
from training.ranges import EPOCHS, LEARNING_RATE


@dataclass(frozen=True)
class Stepwise:
    """One rate an epoch."""

    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        check_rates(self.rates)

    @property
    def epochs(self) -> int:
        return len(self.rates)

    def rate(self, at: float) -> float:
        """The learning rate at a point of time in epochs, from 0 up to `epochs`."""
        return self.rates[min(int(at), self.epochs - 1)]


@dataclass(frozen=True)
class Cosine:
    """Up to `peak` in a straight line, then down to 0 along half a cosine (Loshchilov and Hutter, 2017)."""

    peak: float
    epochs: int
    warmup_epochs: float = 0.5

    def __post_init__(self) -> None:
        check_rates([self.peak])
        EPOCHS.check(self.epochs)
        if not 0 <= self.warmup_epochs < self.epochs:
            raise SettingError(
                f"The warm-up is {self.warmup_epochs} of {self.epochs} epochs: give 0 or more, but less than all."
            )

    def rate(self, at: float) -> float:
        """The learning rate at a point of time in epochs, from 0 up to `epochs`."""
        if at < self.warmup_epochs:
            return self.peak * at / self.warmup_epochs
        done = (at - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.peak * (1 + math.cos(math.pi * done)) / 2


Schedule = Stepwise | Cosine


def parse_rates(text: str) -> tuple[float, ...]:
    """ "0.01*8,0.001*2" is eight epochs at 0.01, then two at 0.001. Raises SettingError for anything else."""
    rates: list[float] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(?:\*\s*([0-9]{1,4}))?\s*", part)
        try:
            rates += [float(match[1])] * int(match[2] or 1) if match else [math.nan]
        except ValueError:
            rates += [math.nan]
    return check_rates(rates, text)


def check_rates(rates: Sequence[float], text: str | None = None) -> tuple[float, ...]:
    """The rates as they are. Raises SettingError when there is none, or one that is not positive or out of range."""
    if not rates or not all(0 < rate < math.inf for rate in rates):
        raise SettingError(
            f"The learning rates {text or list(rates)!r} are not a schedule: give one positive number for each epoch, "
            "such as 0.01*8,0.001*2 for ten epochs."
        )
    EPOCHS.check(len(rates))
    return tuple(LEARNING_RATE.check(rate) for rate in rates)
