"""One run in one generator process: its clock, its requests and its record."""

import os
import random
import time
from functools import cache
from pathlib import Path

import psutil

from loadtest.results.answer import Answers
from loadtest.results.record import AFTER_THE_END, Generator, Record, bucket_of
from loadtest.traffic.arrivals import Arrivals, due_times
from loadtest.traffic.file_server import FileServer
from loadtest.traffic.options import Options
from loadtest.traffic.payload import Kind, Payloads
from loadtest.traffic.photos import Photo, from_folder, rendered


class Session:
    """Counts what the users of this process do; `name` tells the processes apart."""

    def __init__(self, options: Options, name: str) -> None:
        self.options = options
        self.name = name
        self.payloads = payloads(tuple(options.mix), options.images, tuple(options.sizes.items()), options.file_host)
        self.answers = Answers()
        self.record = Record()
        self.arrivals: Arrivals | None = None
        self._process = psutil.Process()
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._cpu_from = (0.0, time.process_time())

    def open(self, users: int) -> Arrivals:
        """The schedule of this process: its users' share of the rate. The clock begins with the first."""
        if self.arrivals is None:
            options = self.options
            rate = (options.rate or 0.0) * users / options.users
            generator = random.Random(f"{self.name} {os.getpid()}")  # noqa: S311
            self.arrivals = Arrivals(due_times(rate, options.arrivals, options.shape, options.seconds, generator))
        return self.arrivals

    @property
    def is_open(self) -> bool:
        """Whether the run goes on."""
        return self._ended is None

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the run."""
        return time.perf_counter() - self._began

    def answered(self, name: str, milliseconds: float, images: int, reason: str | None) -> None:
        """A request is over."""
        over = self._ended is not None or self.elapsed >= self.options.seconds
        interval = AFTER_THE_END if over else int(self.elapsed / self.options.interval_seconds)
        self.record.add_request(interval, name, milliseconds, images, reason)

    def delayed(self, seconds: float) -> None:
        """A request began that much later than it was due, although its user was waiting for the moment."""
        self.record.delays[bucket_of(max(seconds, 0.0) * 1000)] += 1

    def tick(self) -> None:
        """Bring due requests and this process' cost up to date; called about every second, and at the end."""
        now = min(self.elapsed if self._ended is None else self._ended, self.options.seconds)
        if self.arrivals is not None:
            for at in self.arrivals.fall_due(now):
                interval = int(at / self.options.interval_seconds)
                self.record.due[interval] = self.record.due.get(interval, 0) + 1
        if self._ended is None:
            self._watch_cost(now)

    def end(self) -> None:
        """The run is over; answers that still come are its last."""
        if self._ended is None:
            self.tick()
            self._ended = self.elapsed

    def drain(self) -> Record:
        """What was counted since the last call, for the master."""
        record, self.record = self.record, Record(generators=self.record.generators)
        return record

    def _watch_cost(self, now: float) -> None:
        seconds, cpu = self._cpu_from
        spent = time.process_time()
        if now < self.options.warm_up_seconds:
            self._cpu_from = (now, spent)
        share = (spent - cpu) / (now - seconds) if now > seconds + 0.5 else 0.0
        memory = self._process.memory_info().rss
        self.record.generators[self.name] = Generator(seconds=now, cpu_share=share, memory_bytes=memory)


@cache
def photos_of(images: Path | None, sizes: tuple[tuple[str, int], ...]) -> tuple[Photo, ...]:
    """The images of a run; some seconds of work when there are phone photos."""
    return rendered(dict(sizes)) if images is None else from_folder(images)


@cache
def payloads(
    kinds: tuple[Kind, ...], images: Path | None, sizes: tuple[tuple[str, int], ...], file_host: str
) -> Payloads:
    """The payloads of a run; made once in a process, however often a run is started."""
    photos = photos_of(images, sizes)
    urls = FileServer(photos, file_host).urls if Kind.URL in kinds else []
    return Payloads(photos, kinds, urls)
