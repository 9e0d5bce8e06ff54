"""The numbers of a run, and whether they are good enough."""

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel

from loadtest.results import scrape
from loadtest.results.record import AFTER_THE_END, Histogram, Record, Tally, percentile, total, value_of
from loadtest.results.record import mean as mean_of
from loadtest.traffic.options import Options
from loadtest.traffic.payload import TITLES, Kind
from salver.text import counted

Verdict = Literal["passed", "failed", "invalid"]
EXIT_CODES: dict[Verdict, int] = {"passed": 0, "failed": 1, "invalid": 3}
"""2 is what Locust ends with when its command line is wrong."""
REACHED = 0.95
"""The share of the offered requests that must have been answered for the latency to mean anything."""
EDGE_REQUESTS = 2
"""So many may be due at the very end of the run without being begun."""
CPU_LIMIT = 0.9
"""The share of a core from which a generator process is itself the bottleneck."""
P99_ANSWERS = 100
"""So many are needed before one of them is a hundredth, which the p99 leaves out."""
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


class Latency(BaseModel):
    """Milliseconds, of requests for scores; in an open loop from the moment at which they were due."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


class Named(BaseModel):
    """The requests of one kind."""

    name: str
    requests: int
    failures: int
    images: int
    p50_ms: float | None
    p99_ms: float | None


class Point(BaseModel):
    """One interval of the run."""

    seconds: float
    rate: float
    offered: float | None
    images_per_second: float
    failures_per_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class GeneratorUse(BaseModel):
    """What the load generator cost: the busiest process' share of one core, and all memory."""

    processes: int
    cpu_share: float
    memory_bytes: int
    delay_p99_ms: float | None


class Result(BaseModel):
    """A run."""

    verdict: Verdict
    reasons: list[str]
    host: str
    loop: Literal["open", "closed"]
    shape: str
    users: int
    mix: dict[str, int]
    images: str
    warm_up_seconds: float
    measured_seconds: float
    offered_rate: float | None
    """Open loop: requests a second that were due."""
    achieved_rate: float
    """Requests a second that were answered."""
    images_per_second: float
    requests: int
    failures: int
    error_rate: float
    latency_ms: Latency | None
    kinds: list[Named]
    failure_reasons: dict[str, int]
    service: scrape.ServiceUse | None
    service_points: list[scrape.ServiceUse]
    generator: GeneratorUse
    points: list[Point]

    def without_a_place(self, reason: str) -> Self:
        """A pass that nobody can read afterwards is none."""
        verdict = "failed" if self.verdict == "passed" else self.verdict
        return self.model_copy(update={"verdict": verdict, "reasons": [*self.reasons, reason]})


class Measured:
    """The part of a record after the warm-up."""

    def __init__(self, record: Record, options: Options) -> None:
        self.record = record
        self.width = options.interval_seconds
        self.first = math.ceil(options.warm_up_seconds / self.width)
        seconds = max((generator.seconds for generator in record.generators.values()), default=0.0)
        self.end = max(math.ceil(seconds / self.width), self.first)
        self.seconds = max(seconds - self.first * self.width, 0.0)
        self.in_time = list(record.between(self.first, self.end))
        self.all = self.in_time + list(record.between(AFTER_THE_END, 0))
        self.due = sum(number for interval, number in record.due.items() if interval >= self.first)

    def per_second(self, number: float) -> float:
        """A count over the measured time as a rate."""
        return number / self.seconds if self.seconds else 0.0


def result_of(
    record: Record,
    options: Options,
    host: str,
    samples: Sequence[scrape.Sample] = (),
    *,
    exceptions: Sequence[str] = (),
    lost_workers: int = 0,
    interrupted_after: float | None = None,
) -> Result:
    """Everything that is said about a run.

    `exceptions` are those that a task raised, `interrupted_after` the seconds until Ctrl-C or SIGTERM.
    """
    measured = Measured(record, options)
    tallies = [tally for _, tally in measured.all]
    requests, failures = sum(tally.requests for tally in tallies), sum(tally.failures for tally in tallies)
    result = Result(
        verdict="passed",
        reasons=[],
        host=host,
        loop="closed" if options.rate is None else "open",
        shape=options.shape.value,
        users=options.users,
        mix={kind.value: weight for kind, weight in options.mix.items()},
        images=str(options.images or ", ".join(f"{name}={weight}" for name, weight in options.sizes.items())),
        warm_up_seconds=measured.first * measured.width,
        measured_seconds=measured.seconds,
        offered_rate=None if options.rate is None else measured.per_second(measured.due),
        achieved_rate=measured.per_second(sum(tally.requests for _, tally in measured.in_time)),
        images_per_second=measured.per_second(sum(tally.images for _, tally in measured.in_time)),
        requests=requests,
        failures=failures,
        error_rate=failures / requests if requests else 0.0,
        latency_ms=_latency(measured),
        kinds=_kinds(measured),
        failure_reasons=record.reasons,
        service=scrape.over(samples, options.warm_up_seconds),
        service_points=scrape.each(samples),
        generator=_generator(record),
        points=_points(measured, options),
    )
    too_few, missed = _p99(measured, options)
    judged = _judged(
        result, _bottlenecks(result, lost_workers), [*_misses(result, options, exceptions), *missed], too_few
    )
    if interrupted_after is None:
        return judged
    reason = f"the run was interrupted after {interrupted_after:.0f} s: what would have followed is not known"
    return judged.model_copy(update={"verdict": "invalid", "reasons": [reason, *judged.reasons]})


def _judged(result: Result, invalid: list[str], failed: list[str], too_few: list[str]) -> Result:
    """`too_few` answers matter where nothing else is missed."""
    if not failed:
        invalid = invalid + too_few
    # Without a single request there is nothing that a faster generator could change.
    verdict: Verdict = "passed"
    if failed:
        verdict = "failed"
    if invalid and result.requests:
        verdict = "invalid"
    return result.model_copy(update={"verdict": verdict, "reasons": invalid + failed})


def _bottlenecks(result: Result, lost_workers: int) -> list[str]:
    """Why the numbers say something about the generator rather than the service."""
    reasons = []
    offered, achieved = result.offered_rate, result.achieved_rate
    if offered is not None and result.requests + EDGE_REQUESTS < REACHED * offered * result.measured_seconds:
        reasons.append(
            f"target not reached: {offered:.1f} requests/s were due and {achieved:.1f}/s answered, with {result.users} "
            "at once at most. The service cannot keep up, or more --users are needed"
        )
    if result.generator.cpu_share >= CPU_LIMIT:
        reasons.append(
            f"the load generator was the bottleneck: it used {result.generator.cpu_share:.0%} of its core. "
            "Take more --processes or workers"
        )
    if lost_workers:
        reasons.append(f"lost during the run: {counted(lost_workers, 'load generator')}")
    return reasons


def _p99(measured: Measured, options: Options) -> tuple[list[str], list[str]]:
    """Why the gate on the p99 cannot be judged, and why it is missed.

    The slowest of ten is a matter of chance. Two of fewer than a hundred that are too slow would miss it of a hundred.
    """
    histogram = _latencies(measured)
    answers, p99 = histogram.total(), percentile(histogram, 99)
    if options.p99_ms is None or not measured.all:
        return [], []
    if p99 is None:
        return [], ["no request for scores was answered, so there is no p99"]
    slow = sum(number for bucket, number in histogram.items() if value_of(bucket) > options.p99_ms)
    if answers < P99_ANSWERS and slow < 2:
        came = f"a p99 needs at least {P99_ANSWERS} answers to requests for scores, and {answers} came"
        return [f"{came}: make the run longer, or its rate or its number of users higher"], []
    return [], [f"p99 {p99:.1f} ms is over {options.p99_ms:g} ms"] if p99 > options.p99_ms else []


def _misses(result: Result, options: Options, exceptions: Sequence[str]) -> list[str]:
    """The gates that are not met."""
    reasons = [f"a task raised an exception: {text}" for text in exceptions]
    if not result.requests:
        return [*reasons, "no request was answered after the warm-up"]
    if result.error_rate > options.error_rate:
        worst = max(result.failure_reasons, key=result.failure_reasons.__getitem__, default="")
        reasons.append(f"{result.error_rate:.2%} of the requests failed, over {options.error_rate:.2%}: {worst}")
    if options.min_rate is not None and result.images_per_second < options.min_rate:
        reasons.append(f"{result.images_per_second:.1f} images/s are under {options.min_rate:g}")
    return reasons


def _latency(measured: Measured) -> Latency | None:
    histogram = _latencies(measured)
    average = mean_of(histogram)
    if average is None:
        return None
    p50, p90, p95, p99, p999, top = (percentile(histogram, percent) or 0.0 for percent in (*PERCENTILES, 100.0))
    return Latency(mean=average, p50=p50, p90=p90, p95=p95, p99=p99, p999=p999, max=top)


def _latencies(measured: Measured) -> Histogram:
    """Refusals of broken images are fast and would flatter them: they are left out."""
    return total(tally.latencies for name, tally in measured.all if name != TITLES[Kind.BROKEN])


def _kinds(measured: Measured) -> list[Named]:
    by_name: dict[str, Tally] = {}
    for name, tally in measured.all:
        by_name.setdefault(name, Tally()).add(tally)
    return [
        Named(
            name=name,
            requests=tally.requests,
            failures=tally.failures,
            images=tally.images,
            p50_ms=percentile(tally.latencies, 50),
            p99_ms=percentile(tally.latencies, 99),
        )
        for name, tally in sorted(by_name.items())
    ]


def _points(measured: Measured, options: Options) -> list[Point]:
    """The whole run, its warm-up included."""
    return [_point(measured, options, interval) for interval in range(measured.end)]


def _point(measured: Measured, options: Options, interval: int) -> Point:
    named = list(measured.record.between(interval, interval + 1))
    histogram = total(tally.latencies for name, tally in named if name != TITLES[Kind.BROKEN])
    p50, p95, p99 = (percentile(histogram, percent) for percent in (50, 95, 99))
    return Point(
        seconds=interval * measured.width,
        rate=sum(tally.requests for _, tally in named) / measured.width,
        offered=None if options.rate is None else measured.record.due.get(interval, 0) / measured.width,
        images_per_second=sum(tally.images for _, tally in named) / measured.width,
        failures_per_second=sum(tally.failures for _, tally in named) / measured.width,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )


def _generator(record: Record) -> GeneratorUse:
    generators = record.generators.values()
    return GeneratorUse(
        processes=len(generators),
        cpu_share=max((generator.cpu_share for generator in generators), default=0.0),
        memory_bytes=sum(generator.memory_bytes for generator in generators),
        delay_p99_ms=percentile(record.delays, 99),
    )
