"""A whole run as Locust's events tell it: sessions in the generators, one record and one verdict at the end."""

import signal
from collections.abc import Callable

import gevent
import typer
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter

from loadtest.results import report, scrape
from loadtest.results.places import keep, try_place
from loadtest.results.record import Record
from loadtest.results.result import EXIT_CODES, Result, result_of
from loadtest.results.text import summary
from loadtest.session import Session, payloads, photos_of
from loadtest.traffic import options as options_of
from loadtest.traffic.options import Options
from loadtest.traffic.web import check_way_to
from salver.text import printable_lines, reason

TICK_SECONDS = 0.5
STOP_SECONDS = 10.0
"""How long answers are waited for at the end, unless --stop-timeout says otherwise."""
FIELD = "salver"


class Run:
    """Listens to one Locust process: a worker, a master, or both in one."""

    def __init__(self, environment: Environment, follow: Callable[[Session], None]) -> None:
        """`follow` is told of each session of users. Raises LoadTestError when an option is wrong."""
        assert environment.runner is not None
        assert environment.parsed_options is not None
        self.environment, self.runner, self.parsed = environment, environment.runner, environment.parsed_options
        self.follow = follow
        self.session: Session | None = None
        self.record = Record()
        self.samples: list[scrape.Sample] = []
        self.told = ""
        self.workers = 0
        self.lost_workers = 0
        self.interrupted_after: float | None = None
        self.main = gevent.getcurrent()
        self.makes_load = not isinstance(self.runner, MasterRunner)
        self.judges = not isinstance(self.runner, WorkerRunner)
        # Locust ends with 0 when a listener raises; only a verdict makes it so.
        environment.process_exit_code = EXIT_CODES["failed"]
        options = options_of.read(self.parsed)
        if self.judges and (environment.host is not None or self.parsed.headless):
            environment.host = options_of.service_url(environment.host or "")
        for url in (environment.host, options.metrics_url):
            check_way_to(url or "")
        # First: a worker may be told to begin while it still renders.
        self._listen()
        if self.judges:
            self._prepare(options)
        if self.makes_load:
            _render(options)
            payloads(tuple(options.mix), options.images, tuple(options.sizes.items()), options.file_host)

    def _prepare(self, options: Options) -> None:
        self.parsed.spawn_rate = self.parsed.spawn_rate or options.users
        self.environment.stop_timeout = self.environment.stop_timeout or STOP_SECONDS
        # Locust catches Ctrl-C without a trace of it, and SIGTERM not at all while a shape runs.
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, self._interrupt)
        _try_places(options)
        if options.out is not None:
            self.parsed.html_file = self.parsed.html_file or str(options.out / "locust.html")
            writer = StatsCSVFileWriter(self.environment, PERCENTILES_TO_REPORT, str(options.out / "locust"), True)
            gevent.spawn(writer.stats_writer)
            self.environment.events.quit.add_listener(lambda **_: writer.close_files())

    def _listen(self) -> None:
        events = self.environment.events
        events.test_start.add_listener(self._start)
        events.test_stopping.add_listener(self._stop)
        events.quitting.add_listener(self._finish)
        events.quit.add_listener(self._tell)
        if self.makes_load:
            events.request.add_listener(self._answered)
        if self.makes_load and not self.judges:
            events.report_to_master.add_listener(self._report)
        if self.judges and not self.makes_load:
            events.worker_report.add_listener(self._take_report)

    @property
    def options(self) -> Options:
        """As they are now: a worker has its master's."""
        return options_of.read(self.parsed)

    def _start(self, **_: object) -> None:
        self.record, self.samples, self.interrupted_after = Record(), [], None
        if self.judges:
            options_of.share(self.parsed)
            self.workers = getattr(self.runner, "worker_count", 1)
        name = str(getattr(self.runner, "client_id", "master"))
        if self.makes_load:
            _render(self.options)
        self.session = Session(self.options, name)
        if self.makes_load:
            self.follow(self.session)
        gevent.spawn(self._watch, self.session)

    def _watch(self, session: Session) -> None:
        """Keep the session's figures and the service's until the run is over."""
        while session.is_open and session is self.session:
            if self.makes_load:
                session.tick()
            if self.judges:
                self._sample(session)
            gevent.sleep(TICK_SECONDS)

    def _sample(self, session: Session) -> None:
        url = session.options.metrics_url or f"{self.environment.host}/metrics"
        last = self.samples[-1].seconds if self.samples else -session.options.interval_seconds
        if url == "off" or session.elapsed < last + session.options.interval_seconds:
            return
        sample = scrape.read(url, session.elapsed)
        if sample is not None and session.is_open:
            self.samples.append(sample)

    def _stop(self, **_: object) -> None:
        if self.session is not None:
            self.lost_workers = self.workers - getattr(self.runner, "worker_count", 1)
            self.session.end()

    def _interrupt(self) -> None:
        """In Locust's main greenlet, as Python does it for Ctrl-C in a program without greenlets."""
        self._note_interruption()
        gevent.kill(self.main, KeyboardInterrupt)

    def _note_interruption(self) -> None:
        """A run that is over is none that can be interrupted."""
        if self.interrupted_after is None and (self.session is None or self.session.is_open):
            self.interrupted_after = 0.0 if self.session is None else self.session.elapsed

    def _answered(
        self, name: str, response_time: float, exception: Exception | None, context: dict[str, int], **_: object
    ) -> None:
        if self.session is not None:
            reason = None if exception is None else str(exception)
            self.session.answered(name, response_time, context.get("images", 0), reason)

    def _report(self, data: dict[str, object], **_: object) -> None:
        if self.session is not None:
            data[FIELD] = self.session.drain().model_dump_json()

    def _take_report(self, data: dict[str, str], **_: object) -> None:
        if FIELD in data:
            self.record.merge(Record.model_validate_json(data[FIELD]))

    def _finish(self, **_: object) -> None:
        """The verdict is the master's; its workers end with 0. A pass that cannot be written down is none."""
        if not self.judges:
            self.environment.process_exit_code = 0
            return
        self._note_interruption()
        self.runner.quit()
        result = self._result()
        self.told = summary(result, self.options)
        try:
            self._write(result)
        except OSError as error:
            result = result.without_a_place(f"{error.filename} cannot be written: {reason(error)}")
            self.told = summary(result, self.options)
        self.environment.process_exit_code = EXIT_CODES[result.verdict]

    def _tell(self, **_: object) -> None:
        """After Locust's own tables, so that the verdict is what remains on the screen."""
        if self.told:
            typer.echo(printable_lines(self.told))

    def _result(self) -> Result:
        record = self.session.record if self.session is not None and self.makes_load else self.record
        exceptions = [row["msg"] for row in self.runner.exceptions.values()]
        host = str(self.environment.host)
        return result_of(
            record,
            self.options,
            host,
            self.samples,
            exceptions=exceptions,
            lost_workers=self.lost_workers,
            interrupted_after=self.interrupted_after,
        )

    def _write(self, result: Result) -> None:
        text, options = result.model_dump_json(indent=2), self.options
        if options.result is not None:
            keep(options.result, text)
        if options.out is not None:
            keep(options.out / "result.json", text)
            keep(options.out / "report.html", report.page(result))


def _try_places(options: Options) -> None:
    """Raises LoadTestError where a result cannot be written, before there is one."""
    places = [] if options.out is None else [options.out / "result.json", options.out / "report.html"]
    for place in [*places, *([] if options.result is None else [options.result])]:
        try_place(place)


def _render(options: Options) -> None:
    """In a thread of the system's: a worker that is silent for three seconds counts as lost."""
    gevent.get_hub().threadpool.apply(photos_of, (options.images, tuple(options.sizes.items())))
