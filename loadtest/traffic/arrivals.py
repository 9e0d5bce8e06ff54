"""How the load changes over a run, and, in the open loop, when each request is due whatever became of those before."""

import random
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from typing import Literal

Kind = Literal["poisson", "constant"]

STEPS = 5
SPIKE_BASE = 0.2


class Shape(StrEnum):
    """`constant`, `ramp` (0 to the peak), `steps` (a fifth more each fifth), `spike` (the middle fifth), `soak`."""

    CONSTANT = "constant"
    RAMP = "ramp"
    STEPS = "steps"
    SPIKE = "spike"
    SOAK = "soak"

    def level(self, done: float) -> float:
        """The share of the peak, 0 to 1, when the share `done` of the run is over; 0 outside of it."""
        if not 0 <= done < 1:
            return 0.0
        match self:
            case Shape.RAMP:
                return done
            case Shape.STEPS:
                return (int(done * STEPS) + 1) / STEPS
            case Shape.SPIKE:
                return 1.0 if 0.4 <= done < 0.6 else SPIKE_BASE
            case Shape.SOAK:
                return min(1.0, done * 20)
        return 1.0


def due_times(rate: float, kind: Kind, shape: Shape, seconds: float, generator: random.Random) -> Iterator[float]:
    """Seconds from the start of the run, rising, until it is over.

    Candidates come at the peak rate (requests a second), and the shape's share of them is kept: by chance for a Poisson
    process (thinning: Lewis and Shedler, 1979), evenly for a constant one.
    """
    at, credit = 0.0, 0.0
    while (at := at + (generator.expovariate(rate) if kind == "poisson" else 1 / rate)) < seconds:
        level = shape.level(at / seconds)
        credit += level
        if generator.random() < level if kind == "poisson" else credit >= 1 - 1e-9:
            credit -= 1
            yield at


class Arrivals:
    """Due times, handed out in order; those that come due with nobody free to take them wait their turn."""

    def __init__(self, times: Iterator[float]) -> None:
        self._times = times
        self._untaken: deque[float] = deque()
        self._undue: deque[float] = deque()

    def take(self) -> float | None:
        """The earliest due time that nobody has; None when there is no more."""
        return self._untaken.popleft() if self._untaken else self._next()

    def fall_due(self, now: float) -> list[float]:
        """The due times that have passed since this was asked last, taken or not."""
        while not self._undue or self._undue[-1] <= now:
            at = self._next()
            if at is None:
                break
            self._untaken.append(at)
        due = []
        while self._undue and self._undue[0] <= now:
            due.append(self._undue.popleft())
        return due

    def _next(self) -> float | None:
        at = next(self._times, None)
        if at is not None:
            self._undue.append(at)
        return at
