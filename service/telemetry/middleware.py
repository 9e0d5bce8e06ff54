"""ASGI middleware around everything else: each request is counted, logged, given an id and, when asked for, traced."""

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Iterator
from typing import Protocol

from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.limits.memory import Budget, Share
from service.telemetry.logs import Fields
from service.telemetry.metrics import Metrics
from service.telemetry.observation import SCOPE_KEY, Observation
from service.telemetry.tracing import Tracing, parse_traceparent, start_tracing

log = logging.getLogger("salver.access")

PROBES = frozenset(
    {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"}
)
UNKNOWN_ROUTE = "unknown"
CLIENT_GONE = 499  # nginx's number for a caller that went away before the answer


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
        header = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
        parent = None if header is None else parse_traceparent(header)
        if self._tracing is not None and route not in PROBES:
            span = self._tracing.begin(method, parent)
            return Observation(self._metrics, share, method, route, f"{span.get_span_context().trace_id:032x}", span)
        return Observation(self._metrics, share, method, route, new_trace_id() if parent is None else parent.trace_id)

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
            self._tracing.end(observation.span, observation)


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
