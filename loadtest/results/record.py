"""What one generator process saw, by interval of time and kind of request; records of several processes add up.

Latencies lie in buckets of a fixed relative width, so that millions of them take little memory and add up too.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, Field

# DDSketch's mapping (Masson, Rim and Lee, 2019): a bucket's middle is within 1 % of every value in it.
RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SMALLEST_MS = 0.001

Histogram = Counter[int]
"""How many values lie in each bucket."""

MOST_REASONS = 100
AFTER_THE_END = -1
"""The interval of answers that came while the run was being stopped: their latency counts, their rate does not."""


def bucket_of(milliseconds: float) -> int:
    """The bucket of a value; everything up to a microsecond shares the lowest."""
    return math.ceil(math.log(max(milliseconds, _SMALLEST_MS) / _SMALLEST_MS, _GAMMA))


def value_of(bucket: int) -> float:
    """The middle of a bucket, in milliseconds."""
    return float(_SMALLEST_MS * _GAMMA**bucket * 2 / (1 + _GAMMA))


def total(histograms: Iterable[Histogram]) -> Histogram:
    """All values of several histograms in one."""
    added: Histogram = Counter()
    for histogram in histograms:
        added.update(histogram)
    return added


def percentile(histogram: Histogram, percent: float) -> float | None:
    """The value, in milliseconds, that `percent` of all values do not exceed; None when there are none."""
    wanted = math.ceil(histogram.total() * percent / 100)
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= wanted:
            return value_of(bucket)
    return None


def mean(histogram: Histogram) -> float | None:
    """The mean in milliseconds; None when there are no values."""
    count = histogram.total()
    return sum(value_of(bucket) * number for bucket, number in histogram.items()) / count if count else None


class Tally(BaseModel):
    """The requests of one kind in one interval."""

    requests: int = 0
    failures: int = 0
    images: int = 0
    """Images that were scored."""
    latencies: Histogram = Field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Count the other's requests, too."""
        self.requests += other.requests
        self.failures += other.failures
        self.images += other.images
        self.latencies.update(other.latencies)


class Generator(BaseModel):
    """A process that makes load, and what it cost."""

    seconds: float = 0.0
    """From its first user to the end of the run."""
    cpu_share: float = 0.0
    """Of one core, over the measured time: a Python process cannot use more than one."""
    memory_bytes: int = 0


class Record(BaseModel):
    """Everything that is counted in a run; intervals are numbered from its start."""

    tallies: dict[int, dict[str, Tally]] = {}
    due: dict[int, int] = {}
    """Open loop: requests that were due."""
    delays: Histogram = Field(default_factory=Counter)
    """Open loop: how late the generator itself was to begin a request for which it had a user waiting."""
    reasons: dict[str, int] = {}
    """Failed requests by kind and reason."""
    generators: dict[str, Generator] = {}

    def add(self, interval: int, name: str, tally: Tally) -> None:
        """Count requests of one kind."""
        self.tallies.setdefault(interval, {}).setdefault(name, Tally()).add(tally)

    def add_request(self, interval: int, name: str, milliseconds: float, images: int, reason: str | None) -> None:
        """Count one request; `images` are those it sent, `reason` is why it failed."""
        one = Tally(requests=1, failures=int(reason is not None), images=0 if reason else images)
        one.latencies[bucket_of(milliseconds)] = 1
        self.add(interval, name, one)
        if reason is not None:
            self._add_reason(f"{name}: {reason}", 1)

    def merge(self, other: "Record") -> None:
        """Add what another process counted."""
        for interval, tallies in other.tallies.items():
            for name, tally in tallies.items():
                self.add(interval, name, tally)
        for interval, number in other.due.items():
            self.due[interval] = self.due.get(interval, 0) + number
        self.delays.update(other.delays)
        for reason, number in other.reasons.items():
            self._add_reason(reason, number)
        self.generators |= other.generators

    def between(self, first: int, end: int) -> Iterator[tuple[str, Tally]]:
        """Names and tallies of the intervals from `first` to before `end`."""
        for interval, tallies in self.tallies.items():
            if first <= interval < end:
                yield from tallies.items()

    def _add_reason(self, reason: str, number: int) -> None:
        known = reason in self.reasons or len(self.reasons) < MOST_REASONS
        reason = reason if known else "others"
        self.reasons[reason] = self.reasons.get(reason, 0) + number
