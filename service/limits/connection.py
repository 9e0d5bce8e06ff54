"""One connection in bounds: uvicorn limits neither how long a head is nor how long anything may take.

Every part of a connection has one total time, however its bytes come: the wait for a head and the head itself
(`HEAD_SECONDS`), the body and its answer (`service.limits.request`), the reading of the answer (`answer_seconds`), the
time between two requests (`IDLE_SECONDS`), and the parting with a caller who is refused and goes on sending.
"""

import urllib.parse
from asyncio import AbstractEventLoop, Event, TimerHandle, Transport
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import httptools
from typing_extensions import override
from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
MAX_AROUND_BYTES = 16 * 1024
"""Most bytes that stand around a body's own: lengths and extensions of chunks, trailers. Each sixteen bytes of the body
allow one more, so that chunks of a hundred bytes come through at any length, and those of one byte do not."""
HEAD_SECONDS = 75.0
IDLE_SECONDS = 75.0  # longer than the idle time of the usual load balancers, so that they close first
REST_BYTES = 64 * 1024
REST_SECONDS = 2.0
"""The rest of an answered request's body may come this long, and the connection is kept."""
PARTING_BYTES = 64 * 1024**2
PARTING_SECONDS = 2.0
"""So much is thrown away of what a refused caller goes on sending (`REST_BYTES` of what cannot be parsed). Closing at
once would reset the connection, and they would not see their answer."""
LOOK_SECONDS = 1.0
STEP_BYTES = 16 * 1024
"""Parsed between two looks at the bounds: at most 2 ms of the event loop, for headers or chunks of a byte."""

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
NOT_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\n"
    b"connection: close\r\n\r\nInvalid HTTP request received."
)
NO_MEMORY = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

Phase = Literal["head", "request", "rest", "idle", "parting"]


class _PipelinedError(Exception):
    """A second request before the first one's answer: each would be kept, and nobody needs it."""


@dataclass(frozen=True, slots=True)
class Line:
    """What an answer is written to: the transport, but that closing it is the protocol's parting."""

    write: Callable[[bytes], None]
    is_closing: Callable[[], bool]
    close: Callable[[], None]


class Flow(FlowControl):
    """Reads no more once `deaf` is set."""

    deaf = False

    @override
    def resume_reading(self) -> None:
        if not self.deaf:
            super().resume_reading()


class Cycle(RequestResponseCycle):
    """One request and its answer; sending ends when the answer has left, so that its memory is held until then."""

    before_answer: Callable[[], None]

    @override
    async def send(self, message: ASGISendEvent) -> None:
        if not self.response_started:
            self.before_answer()
        await super().send(message)
        if self.response_complete and self.flow.write_paused:
            await self.flow.drain()


class Protocol(HttpToolsProtocol):
    """One connection. What the parser keeps without giving any of it out is counted: that is a head, or what may stand
    around a body's pieces. Bodies are bounded in `service.api.body`.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
        *,
        answer_seconds: float,
    ) -> None:
        """`answer_seconds` is the longest time that an answer waits to be read."""
        super().__init__(config, server_state, app_state, _loop)
        self._answer_seconds = answer_seconds
        self._phase: Phase = "head"
        self._since = self.loop.time()
        self._unread_since: float | None = None
        self._around_bytes = 0
        self._body_bytes = 0
        self._to_throw_away_bytes = PARTING_BYTES
        self._declared_bytes: int | None = None
        self._in_message = False
        """A head is complete, and the body after it is not."""
        self._looking: TimerHandle | None = None

    @override
    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.flow = self._flow = Flow(transport)
        self._line = Line(transport.write, transport.is_closing, self._part)
        self._looking = self.loop.call_later(LOOK_SECONDS, self._look)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        size, start = len(data), 0
        if size <= STEP_BYTES:
            self._take(data)
            return
        whole = memoryview(data)
        while start < size:
            end = size if self._in_message and self._declared_bytes is not None else start + STEP_BYTES
            self._take(whole[start:end])
            start = end

    @override
    def on_message_begin(self) -> None:
        if self._answering:
            raise _PipelinedError
        self._enter("head")
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        """As uvicorn's, without WebSockets, its own limits and the queue of requests."""
        self._enter("request")
        self._around_bytes = self._body_bytes = 0
        self._in_message = True
        self._declared_bytes = next((int(value) for name, value in self.headers if name == b"content-length"), None)
        version = self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        self.scope["raw_path"] = url.path
        self.scope["query_string"] = url.query or b""
        cycle = Cycle(
            scope=self.scope,
            transport=self._line,  # type: ignore[arg-type]  # all that is called of one
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        cycle.before_answer = self._before_answer
        self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    @override
    def on_body(self, body: bytes) -> None:
        self._around_bytes -= len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._in_message = False
        self._around_bytes = 0
        if self._phase == "rest":
            self._enter("idle")
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._phase != "parting":
            self._enter("rest" if self._in_message else "idle")
            self.flow.resume_reading()

    @override
    def shutdown(self) -> None:
        """The server ends: nothing new is taken on this connection."""
        if self._answering:
            self.cycle.keep_alive = False
        else:
            self._part()

    @property
    def _answering(self) -> bool:
        """Whether a request has no whole answer yet."""
        cycle: Cycle | None = getattr(self, "cycle", None)  # None before the first, which uvicorn's type does not say
        return cycle is not None and not cycle.response_complete

    def _take(self, data: bytes | memoryview) -> None:
        """Parse what came, and judge it."""
        if self._flow.deaf or self._phase == "parting":
            self._throw_away(len(data))
            return
        self._around_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # no other protocol is spoken here; the request is answered as it is
            pass
        except httptools.HttpParserError as error:
            self._refuse_parsing(error.__context__)
        else:
            self._bound()

    def _bound(self) -> None:
        bytes_allowed = MAX_HEAD_BYTES if self._phase in ("head", "idle") else MAX_AROUND_BYTES + self._body_bytes // 16
        if self._around_bytes > bytes_allowed or (self.headers and len(self.headers) > MAX_HEADERS):
            self._refuse(TOO_LONG)

    def _refuse_parsing(self, cause: BaseException | None) -> None:
        """No memory to keep what came is not the caller's fault; and whoever pipelines gets their first answer."""
        if isinstance(cause, _PipelinedError):
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            self._flow.deaf = True
        else:
            self._refuse(NO_MEMORY if isinstance(cause, MemoryError) else NOT_HTTP)

    def _refuse(self, answer: bytes) -> None:
        """The end of what can be understood. A request that is being answered has lost its caller."""
        begun = False
        if self._answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            begun = self.cycle.response_started
        if not begun and not self.transport.is_closing():
            self.transport.write(answer)
        self._in_message = True
        self._to_throw_away_bytes = REST_BYTES
        self._part()

    def _before_answer(self) -> None:
        """A body that was not read and is long, or of unknown length, is the end of the connection."""
        if self._in_message and self._rest_bytes() > REST_BYTES:
            self.cycle.keep_alive = False

    def _rest_bytes(self) -> float:
        return float("inf") if self._declared_bytes is None else self._declared_bytes - self._body_bytes

    def _part(self) -> None:
        """Close, at once or, where the caller still sends, after their bytes were thrown away for a moment."""
        if self._phase == "parting" or self.transport.is_closing():
            return
        self._enter("parting")
        if self._in_message or self._flow.deaf:
            self._flow.deaf = False
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()

    def _throw_away(self, size: int) -> None:
        self._to_throw_away_bytes -= size
        if self._to_throw_away_bytes < 0:
            self.transport.abort()

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()

    def _look(self) -> None:
        """End what is over its time. One timer a connection, because one a phase would cost each request as much."""
        now = self.loop.time()
        if not self.transport.get_write_buffer_size():
            self._unread_since = None
            if now - self._since > self._seconds():
                self.transport.abort() if self._phase == "parting" else self.transport.close()
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > self._answer_seconds:
            self.transport.abort()
        self._looking = self.loop.call_later(LOOK_SECONDS, self._look)

    def _seconds(self) -> float:
        """The phase's longest time; a request's own is in `service.limits.request`."""
        match self._phase:
            case "head":
                return HEAD_SECONDS
            case "idle":
                return IDLE_SECONDS
            case "rest":
                return REST_SECONDS
            case "parting":
                return PARTING_SECONDS
        return float("inf")
