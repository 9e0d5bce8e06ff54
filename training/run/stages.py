"""Where the time of a run goes."""

import time
from collections.abc import Mapping


class Stages:
    """Seconds by the name of a stage, in order; the first begins with this object, each other one with the end of one.

    One that ends twice gets the sum.
    """

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._began = time.perf_counter()

    def end(self, stage: str) -> None:
        """What was done since the last end was this."""
        now = time.perf_counter()
        self._spent[stage] = self._spent.get(stage, 0.0) + now - self._began
        self._began = now

    def spent(self) -> Mapping[str, float]:
        """So far."""
        return dict(self._spent)


def told(spent: Mapping[str, float]) -> str:
    """In one line, in seconds that sum to the total as they stand there."""
    rounded = {stage: round(seconds, 1) for stage, seconds in spent.items()}
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in rounded.items())
    return f"{sum(rounded.values()):.1f} s: {parts}"
