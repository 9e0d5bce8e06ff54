"""What one generator process saw, by interval of time and kind of request; records of several processes add up."""

from collections import Counter
from collections.abc import Iterator

from pydantic import BaseModel, Field

from loadtest.results.histogram import Histogram, bucket_of, total

MOST_REASONS = 100
AFTER_THE_END = -1
"""The interval of answers that came while the run was being stopped: their latency counts, their rate does not."""


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


def latencies(tallies: list[Tally]) -> Histogram:
    """All latencies of some tallies."""
    return total(tally.latencies for tally in tallies)
