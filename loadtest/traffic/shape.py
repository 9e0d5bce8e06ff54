"""How the load changes over a run: a share of its peak for each second."""

from enum import StrEnum

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
