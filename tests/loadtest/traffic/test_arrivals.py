import random

import numpy as np
import pytest

from loadtest.traffic.arrivals import Arrivals, Kind, Shape, due_times


def times(rate: float, kind: Kind, shape: Shape = Shape.CONSTANT, seconds: float = 100) -> list[float]:
    return list(due_times(rate, kind, shape, seconds, random.Random(0)))


def test_constant_arrivals_are_evenly_spaced() -> None:
    due = times(10, "constant")
    assert len(due) == pytest.approx(1000, abs=1)
    assert np.diff(due) == pytest.approx(0.1)


def test_poisson_arrivals_have_the_rate_and_exponential_gaps() -> None:
    gaps = np.diff(times(100, "poisson", seconds=200))
    assert gaps.mean() == pytest.approx(0.01, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


@pytest.mark.parametrize("kind", ["poisson", "constant"])
@pytest.mark.parametrize("shape", list(Shape))
def test_a_shape_is_followed_in_every_fifth_of_the_run(kind: Kind, shape: Shape) -> None:
    counts, _ = np.histogram(times(100, kind, shape), bins=5, range=(0, 100))
    levels = np.array([shape.level(step / 1000) for step in range(1000)]).reshape(5, 200).mean(axis=1)
    assert counts == pytest.approx(levels * 2000, abs=200 if kind == "poisson" else 6)


def test_what_comes_due_with_nobody_free_waits_its_turn_and_is_counted_once() -> None:
    arrivals = Arrivals(iter([1.0, 2.0, 3.0, 4.0]))
    assert arrivals.take() == 1.0
    assert arrivals.fall_due(3.5) == [1.0, 2.0, 3.0]
    assert [arrivals.take(), arrivals.take()] == [2.0, 3.0]
    assert arrivals.fall_due(3.6) == []
    assert arrivals.take() == 4.0
    assert arrivals.take() is None
    assert arrivals.fall_due(9) == [4.0]


def test_outside_of_the_run_there_is_no_load() -> None:
    assert Shape.CONSTANT.level(1) == Shape.CONSTANT.level(-0.1) == 0
