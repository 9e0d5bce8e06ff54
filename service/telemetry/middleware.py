"""ASGI middleware around everything else: each request is counted, logged, given an id and, when asked for, traced."""

from __future__ import annotations

import asyncio
import logging
import operator
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.limits.request import Budget, Share
from service.scoring.scorer import Result
from service.telemetry.logs import Fields
from service.telemetry.metrics import STAGES, Metrics, stage_seconds
from service.telemetry.tracing import STATUS, Tracing, caller_trace_id, start_tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = logging.getLogger("salver.access")

PROBES = frozenset(
    {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"}
)
UNKNOWN_ROUTE = "unknown"
SCOPE_KEY = "salver.observation"
CLIENT_GONE = 499  # nginx's number for a caller that went away before the answer


@dataclass(slots=True)
class Observation:
    """What one request did, gathered while it is answered: the routes tell it of their images (`received`, `scored`),
    the middleware of all else. Points in time are `time.perf_counter`'s.
    """

    metrics: Metrics
    share: Share
    """What the request holds of the memory until its answer has been sent."""
    method: str
    route: str
    trace_id: str
    span: Span | None = None
    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    images: int = 0
    results: Sequence[Result] = ()
    labels: Sequence[str] = ()
    scored_at: float = 0.0
    error_kind: str | None = None
    """Of the error that ended the whole request."""

    def received(self, images: int) -> None:
        """The request is well-formed and holds that many images."""
        self.images = images
        self.metrics.images_received.inc(images)

    def scored(self, results: Sequence[Result], labels: Sequence[str]) -> None:
        """Every image that was received has its result, by a model with these labels."""
        self.results, self.labels = results, labels
        self.scored_at = time.perf_counter()

    def count(self, seconds: float) -> None:
        """Count the request, now that it is over, and give every image that was received its outcome."""
        self.metrics.answered(
            self.route,
            self.status,
            seconds,
            request_bytes=self.request_bytes,
            response_bytes=self.response_bytes,
        )
        if self.results:
            self.metrics.scored(self.results, self.labels)
            self.metrics.stages(self.results, seconds)
        elif self.images:
            self.metrics.failed(self.images, self.error_kind or "abandoned")

    def server_timing(self) -> str:
        """The longest fetch, queueing, decoding and inference among the images, and the request so far, in ms."""
        longest = [*map(max, zip(*map(stage_seconds, self.results), strict=True)), time.perf_counter() - self.began]
        stages = zip(STAGES[-len(longest) :], longest, strict=True)
        return ", ".join([f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in stages if seconds])

    def span_attributes(self) -> dict[str, str | int]:
        """What a trace says of it, by OpenTelemetry's names."""
        return {
            "http.request.method": self.method,
            "http.route": self.route,
            STATUS: self.status,
            "http.request.body.size": self.request_bytes,
            "http.response.body.size": self.response_bytes,
            "salver.images": self.images,
        }

    def stage_intervals(self) -> dict[str, tuple[float, float]]:
        """Stage by stage, from the first image's beginning to the last one's end, as if all images began together."""
        images = [stage_seconds(result) for result in self.results]
        begins = [self.scored_at - max(map(sum, images), default=0.0)] * len(images)
        intervals: dict[str, tuple[float, float]] = {}
        for stage, seconds in zip(STAGES, zip(*images, strict=True), strict=False):
            ends = list(map(operator.add, begins, seconds))
            if any(seconds):
                intervals[stage] = min(begins), max(ends)
            begins = ends
        return intervals


def observation_of(request: Request) -> Observation:
    """The observation of this request."""
    observation: Observation = request.scope[SCOPE_KEY]
    return observation


class Templates:
    """Paths to the route templates that bound the number of metric lines."""

    def __init__(self, templates: Iterable[str]) -> None:
        compiled = {template: compile_path(template)[0] for template in templates}
        self._whole = frozenset(template for template in compiled if "{" not in template)
        self._patterns = [(pattern, template) for template, pattern in compiled.items() if "{" in template]

    def find(self, path: str) -> str:
        """The template that a path belongs to; `unknown` for all others."""
        if path in self._whole:
            return path
        return next((template for pattern, template in self._patterns if pattern.match(path)), UNKNOWN_ROUTE)


class Served(Protocol):
    """What is asked of the service for every request."""

    @property
    def budget(self) -> Budget: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def draining(self) -> bool: ...


class Telemetry:
    """The middleware; outermost, so that it sees every answer.

    HEAD, which monitors ask with, is answered as GET is, without the body.
    """

    def __init__(self, app: ASGIApp, service: Served, templates: Templates) -> None:
        self._app = app
        self._service = service
        self._metrics = service.metrics
        self._templates = templates
        self._tracing: Tracing | None = None

    def start(self) -> None:
        """Send traces from now on, if the environment asks for them."""
        self._tracing = start_tracing()

    async def close(self) -> None:
        """Send the traces that are left."""
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._service.budget.share() as share:
            await self._observe(scope, receive, send, share)

    async def _observe(self, scope: Scope, receive: Receive, send: Send, share: Share) -> None:
        observation = scope[SCOPE_KEY] = self._begin(scope, share)

        async def observed_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                observation.request_bytes += len(message["body"])
            elif not observation.status:
                observation.status = CLIENT_GONE
            return message

        head_only = scope["method"] == "HEAD"

        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                observation.status = observation.status or message["status"]
                message["headers"] = [*message["headers"], *self._headers(observation)]
                await send(message)
                if head_only:  # at once: the caller takes it for the end, and may ask again before a long body is read
                    await send({"type": "http.response.body"})
            elif not head_only:
                observation.response_bytes += len(message.get("body", b""))
                await send(message)

        self._metrics.requests_in_flight += 1
        try:
            await self._app({**scope, "method": "GET"} if head_only else scope, observed_receive, observed_send)
        finally:
            self._metrics.requests_in_flight -= 1
            self._end(observation)

    def _begin(self, scope: Scope, share: Share) -> Observation:
        method, route = scope["method"], self._templates.find(scope["path"])
        if self._tracing is not None and route not in PROBES:
            span = self._tracing.begin(method, scope["headers"])
            return Observation(self._metrics, share, method, route, f"{span.get_span_context().trace_id:032x}", span)
        header = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
        trace_id = None if header is None else caller_trace_id(header)
        return Observation(self._metrics, share, method, route, trace_id or new_trace_id())

    def _headers(self, observation: Observation) -> Iterator[tuple[bytes, bytes]]:
        yield b"x-request-id", observation.trace_id.encode()
        if observation.images:
            yield b"server-timing", observation.server_timing().encode()
        if self._service.draining:
            yield b"connection", b"close"  # the caller is to connect anew, which is elsewhere

    def _end(self, observation: Observation) -> None:
        seconds = time.perf_counter() - observation.began
        observation.status = observation.status or CLIENT_GONE
        observation.count(seconds)
        if observation.route not in PROBES or observation.status >= 400:
            _log(observation, seconds)
        if self._tracing is not None and observation.span is not None:
            self._tracing.end(
                observation.span,
                f"{observation.method} {observation.route}",
                observation.span_attributes(),
                observation.stage_intervals(),
            )


def new_trace_id() -> str:
    """32 hexadecimal digits, as W3C Trace Context has them; an id, so no secret randomness is spent on it."""
    return f"{random.getrandbits(128) or 1:032x}"


def _log(observation: Observation, seconds: float) -> None:
    """One line a request, without anything that the caller made up."""
    if not log.isEnabledFor(logging.INFO):
        return
    fields: Fields = {
        "method": observation.method,
        "route": observation.route,
        "status": observation.status,
        "seconds": round(seconds, 6),
        "images": observation.images,
        "request_bytes": observation.request_bytes,
        "response_bytes": observation.response_bytes,
        "trace_id": observation.trace_id,
    }
    # `log.info` would look up the line of code that calls it, at a fifth of the cost of the whole line.
    log.handle(log.makeRecord(log.name, logging.INFO, "", 0, "request", (), None, extra={"fields": fields}))
