"""Load on a scoring service: `python -m locust -f loadtest/locustfile.py --host URL …`; see README.md beside it."""

import sys
import time
from typing import Any, ClassVar

from locust import FastHttpUser, LoadTestShape, events, task
from locust.argument_parser import LocustArgumentParser
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment

from loadtest.errors import LoadTestError
from loadtest.run import Run
from loadtest.session import Session
from loadtest.traffic.options import add_arguments, read
from loadtest.traffic.payload import Kind, Payload
from salver.system.proxy import proxy_for

WRONG_OPTION = 2
AFTER_ALL_SECONDS = 1e6
"""Longer than any run: nothing more is due, and Locust ends the users that wait."""


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser, **_: object) -> None:
    """Ours beside Locust's."""
    add_arguments(parser)


@events.init.add_listener
def begin(environment: Environment, **_: object) -> None:
    """Make the payloads before the run, and listen to what Locust does."""
    try:
        Run(environment, ScoringUser.follow)
    except LoadTestError as error:
        sys.stderr.write(f"load test: {error}\n")
        sys.exit(WRONG_OPTION)


class ScoringUser(FastHttpUser):
    """One caller at a time: of a closed loop, or one that takes the next request that is due."""

    session: ClassVar[Session]
    due: float | None = None
    waits = False

    @classmethod
    def follow(cls, session: Session) -> None:
        """Take weights and limits from the run that begins."""
        options = session.options
        cls.session = session
        cls.tasks = [getattr(cls, kind.value) for kind, weight in options.mix.items() for _ in range(weight)]
        cls.network_timeout = cls.connection_timeout = options.timeout_seconds
        cls.default_headers = {"Authorization": f"Bearer {options.key}"} if options.key else {}

    def __init__(self, environment: Environment) -> None:
        """As the environment says for the host that is loaded. Locust hands a proxy's host and port on, no login."""
        proxy = proxy_for(str(self.host))
        if proxy is not None:
            self.proxy_host, self.proxy_port = proxy.host, proxy.port
        super().__init__(environment)
        if proxy is not None and proxy.user:
            login = {"proxy_user": proxy.user, "proxy_password": proxy.password}
            self.client.client.clientpool.client_args |= login

    def on_start(self) -> None:
        """In an open loop even the first request has its time."""
        if self.session.options.rate is not None:
            self.wait()

    def wait_time(self) -> float:
        """Seconds until the next request: the think time, or until the next one is due."""
        if self.session.options.rate is None:
            return self.session.options.think_seconds
        self.due = self.session.open(self.environment.runner.target_user_count).take()
        if self.due is None:
            return AFTER_ALL_SECONDS
        wait = self.due - self.session.elapsed
        self.waits = wait > 0
        return max(wait, 0.0)

    @task
    def base64(self) -> None:
        """A list of one image."""
        self.send(Kind.BASE64)

    @task
    def list(self) -> None:
        """A list of eight images."""
        self.send(Kind.LIST)

    @task
    def raw(self) -> None:
        """The bytes as they are."""
        self.send(Kind.RAW)

    @task
    def url(self) -> None:
        """A list of one image that the service fetches from here."""
        self.send(Kind.URL)

    @task
    def broken(self) -> None:
        """An image that must be refused."""
        self.send(Kind.BROKEN)

    def send(self, kind: Kind) -> None:
        """Send a request of that kind and check its answer; a late start counts into its latency."""
        payload = self.session.payloads.choose(kind)
        late = 0.0 if self.due is None else self.session.elapsed - self.due
        if self.waits:
            self.session.delayed(late)
        with self.client.post(
            payload.path,
            data=payload.body,  # type: ignore[arg-type]  # Locust sends bytes as they are
            headers=dict(payload.headers),
            name=payload.kind.label,
            catch_response=True,
            context={"images": len(payload.photos)},
        ) as response:
            response.request_meta["response_time"] += max(late, 0.0) * 1000
            self._judge(payload, response)

    def _judge(self, payload: Payload, response: ResponseContextManager) -> None:
        if not response.status_code:
            response.failure(f"no answer: {type(response.request_meta['exception']).__name__}")
            return
        fault = self.session.answers.fault(payload, response.status_code, response.content or b"")
        if fault is None:
            response.success()
        else:
            response.failure(fault)


class Load(LoadTestShape):
    """Users over time: those of the shape in a closed loop, all of them in an open one."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Users and how many of them start a second; None at the end."""
        parsed: Any = self.runner and self.runner.environment.parsed_options
        options, now = read(parsed), time.perf_counter() - self.start_time
        if now >= options.seconds:
            return None
        level = options.shape.level(now / options.seconds) if options.rate is None else 1.0
        return max(1, round(options.users * level)), max(float(parsed.spawn_rate), 1.0)
