"""The highest rate at which a service holds its objective, and the replicas that another rate needs."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from pydantic import BaseModel

from loadtest.errors import LoadTestError
from loadtest.results.result import CPU_LIMIT, Result
from loadtest.results.text import service_lines
from salver.text import counted, without_login

LOWEST_RATE = 0.05
HIGHEST_RATE = 1e6
REPEAT_FACTOR = 1.25

Measure = Callable[[float], Result]
"""An open-loop run at a rate, in requests a second."""


class GeneratorLimited(Exception):
    """The load generator was the bottleneck, so that the service's limit lies higher."""


class Step(BaseModel):
    """One run of the search."""

    rate: float
    holds: bool
    p99_ms: float | None
    achieved_rate: float
    reasons: list[str]


class Plan(BaseModel):
    """What to write into a manifest for a wanted rate."""

    images_per_second: float
    replicas: int
    headroom: float
    """The share of a replica's capacity that it is to use."""
    images_per_second_per_replica: float
    """Target of an HPA on a metric of images a second a pod."""
    cpu_average_value: str | None
    """Target of an HPA on CPU of type AverageValue; None when the service's metrics were not read."""


class Capacity(BaseModel):
    """What one replica holds."""

    url: str
    slo_p99_ms: float
    images_per_second: float | None
    """Median of the searches; None when the objective was not held at any rate."""
    images_per_second_each: list[float]
    generator_limited: bool
    """Then the figure is only a lower bound."""
    at_capacity: Result | None
    """The run at the highest rate that held."""
    steps: list[Step]
    plan: Plan | None


@dataclass
class Search:
    """Runs of rising and falling rates, and what came of them."""

    measure: Measure
    tell: Callable[[Step], None]

    def __post_init__(self) -> None:
        self.steps: list[Step] = []
        self.best: dict[float, Result] = {}

    def highest(self, start: float, factor: float, precision: float) -> float | None:
        """The highest rate that holds, to a relative `precision`: by steps of `factor` from `start`, then by bisection.

        None when not even the lowest rate holds. Raises GeneratorLimited.
        """
        low = high = start
        if self.holds(start):
            while self.holds(high := low * factor):
                low = high
        else:
            while not self.holds(low := high / factor):
                high = low
                if low < LOWEST_RATE:
                    return None
        while high / low > 1 + precision:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self.holds(middle) else (low, middle)
        return low

    def holds(self, rate: float) -> bool:
        """Whether a run at that rate passes.

        Raises GeneratorLimited when it does not for the generator's sake, and LoadTestError when the first run shows
        that nothing there answers: other rates would not either, and take minutes to say so.
        """
        if rate > HIGHEST_RATE:
            raise GeneratorLimited
        result = self.measure(rate)
        if not self.steps and result.failures >= result.requests:
            raise LoadTestError(
                f"No request to {without_login(result.host)} had an answer ({_most_common(result)}). Is the service "
                "running there, and does it take the key?"
            )
        step = Step(
            rate=rate,
            holds=result.verdict == "passed",
            p99_ms=result.latency_ms.p99 if result.latency_ms else None,
            achieved_rate=result.achieved_rate,
            reasons=result.reasons,
        )
        self.steps.append(step)
        if step.holds:
            self.best[rate] = result
        self.tell(step)
        if not step.holds and result.generator.cpu_share >= CPU_LIMIT:
            raise GeneratorLimited
        return step.holds


def _most_common(result: Result) -> str:
    reasons = result.failure_reasons
    return max(reasons, key=lambda reason: reasons[reason]) if reasons else "none came back in time"


def find(url: str, slo_p99_ms: float, search: Search, *, start: float, precision: float, repeats: int) -> Capacity:
    """Search once from `start`, then `repeats` - 1 times around what was found."""
    rates: list[float] = []
    limited = False
    try:
        for repeat in range(repeats):
            rate = search.highest(rates[0] if rates else start, 2 if repeat == 0 else REPEAT_FACTOR, precision)
            if rate is None:
                break
            rates.append(rate)
    except GeneratorLimited:
        limited = True
        rates = rates or sorted(search.best)[-1:]
    each = [rate * _images_a_request(search.best[rate]) for rate in rates]
    return Capacity(
        url=without_login(url),
        slo_p99_ms=slo_p99_ms,
        images_per_second=median(each) if each else None,
        images_per_second_each=each,
        generator_limited=limited,
        at_capacity=search.best[max(rates)] if rates else None,
        steps=search.steps,
        plan=None,
    )


def plan(capacity: Capacity, images_per_second: float, headroom: float) -> Plan | None:
    """Replicas and targets for a rate; None when one replica holds nothing."""
    if not capacity.images_per_second or capacity.at_capacity is None:
        return None
    each = capacity.images_per_second * headroom
    service = capacity.at_capacity.service
    return Plan(
        images_per_second=images_per_second,
        replicas=max(1, math.ceil(images_per_second / each - 1e-9)),
        headroom=headroom,
        images_per_second_per_replica=each,
        cpu_average_value=None if service is None else f"{round(service.cpu_cores * headroom * 1000)}m",
    )


def lines(capacity: Capacity) -> Iterator[str]:
    """The answer in words."""
    objective = f"at p99 <= {capacity.slo_p99_ms:g} ms"
    if capacity.images_per_second is None or capacity.at_capacity is None:
        yield f"The service did not hold its objective {objective} at any rate."
        return
    each, least = capacity.images_per_second_each, "at least " if capacity.generator_limited else ""
    yield (
        f"One replica holds {least}{capacity.images_per_second:.1f} images/s {objective} "
        f"({counted(len(each), 'search', 'searches')}: {min(each):.1f} to {max(each):.1f})."
    )
    if capacity.generator_limited:
        yield "The load generator was the bottleneck: search again with more --processes, or from another machine."
    result = capacity.at_capacity
    if result.service is not None and result.latency_ms is not None:
        yield f"There, p99 was {result.latency_ms.p99:.1f} ms:"
        yield from ("  " + line for line in service_lines(result.service, result.latency_ms.mean))
    if capacity.plan is not None:
        yield from _plan_lines(capacity.plan)


def _plan_lines(found: Plan) -> Iterator[str]:
    yield f"For {found.images_per_second:g} images/s, with {found.headroom:.0%} of a replica's capacity in use:"
    yield f"  replicas: {found.replicas}"
    if found.cpu_average_value is not None:
        yield f"  HPA on CPU: target type AverageValue, averageValue {found.cpu_average_value}"
    yield f"  HPA on images/s a pod: averageValue {found.images_per_second_per_replica:.1f}"


def _images_a_request(result: Result) -> float:
    return result.images_per_second / result.achieved_rate
