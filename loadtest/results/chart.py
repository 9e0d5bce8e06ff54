"""Curves over the seconds of a run as what an SVG is made of."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 900, 190
LEFT, RIGHT, TOP, BOTTOM = 70, 740, 8, 164
"""The frame of the curves, in units of the picture; their names stand to the right of it."""
TICKS_ACROSS, TICKS_UP = 10, 4
ROUND_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Curve:
    """Values over seconds; None, where nothing was answered, leaves a gap."""

    name: str
    seconds: Sequence[float]
    values: Sequence[float | None]


@dataclass(frozen=True)
class Tick:
    """A line of the grid: where it lies, and its number in words."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Curves of one unit over the whole run."""

    title: str
    curves: Sequence[Curve]
    seconds: float
    """Where the time axis ends."""
    warm_up_seconds: float

    @property
    def across(self) -> list[Tick]:
        """Of the seconds."""
        return [Tick(self._x(value), f"{value:g}") for value in _ticks(self.seconds, TICKS_ACROSS)]

    @property
    def up(self) -> list[Tick]:
        """Of the values."""
        return [Tick(self._y(value), f"{value:,g}") for value in _ticks(self._most, TICKS_UP)]

    @property
    def warm_up_width(self) -> float:
        """Of the part that no figure counts."""
        return self._x(min(self.warm_up_seconds, self.seconds)) - LEFT

    def path(self, curve: Curve) -> str:
        """The `d` of an SVG path: a new stroke after every gap, a dot where a value stands alone."""
        return " ".join(self._strokes(curve))

    def _strokes(self, curve: Curve) -> Iterator[str]:
        pen_is_up = True
        for second, value in zip(curve.seconds, curve.values, strict=True):
            if value is not None:
                place = f"{self._x(second):.1f} {self._y(value):.1f}"
                yield f"M{place}h0" if pen_is_up else f"L{place}"
            pen_is_up = value is None

    @property
    def _most(self) -> float:
        """The end of the value axis: the least round number that no value is above."""
        highest = max((value for curve in self.curves for value in curve.values if value is not None), default=0.0)
        step = _step(highest or 1.0, TICKS_UP)
        return step * math.ceil((highest or 1.0) / step - 1e-9)

    def _x(self, second: float) -> float:
        return LEFT + (RIGHT - LEFT) * second / (self.seconds or 1.0)

    def _y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * value / self._most


def _ticks(end: float, count: int) -> list[float]:
    """Round numbers from 0 to the end, about so many."""
    step = _step(end or 1.0, count)
    return [step * number for number in range(math.floor(end / step + 1e-9) + 1)]


def _step(end: float, count: int) -> float:
    """The least round number of which at most `count` fill the axis."""
    exact = end / count
    power = 10.0 ** math.floor(math.log10(exact))
    return next(step * power for step in ROUND_STEPS if step * power >= exact * (1 - 1e-9))
