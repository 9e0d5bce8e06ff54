"""HTTP's heads in bounds: uvicorn limits neither how long one is nor how long it may take to arrive."""

import sys
from asyncio import TimerHandle, Transport

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 75.0
REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
NO_MEMORY = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection. What the parser keeps without giving any of it out is counted: that is a head, or what may stand
    around a body's pieces, trailers and the extensions of chunks. Bodies are bounded in `service.body`.
    """

    @override
    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._kept_bytes = 0
        self._in_head = True
        self._head_timer: TimerHandle | None = self.loop.call_later(HEAD_SECONDS, transport.close)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        self._kept_bytes += len(data)
        super().data_received(data)
        if self._kept_bytes:  # seldom: most heads, and all pieces of a body, come whole
            self._bound()

    @override
    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        self._kept_bytes = 0
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._kept_bytes = 0
        super().on_body(body)

    @override
    def send_400_response(self, msg: str) -> None:
        """Called while what the parser could not take is an error; no memory to keep it is not the caller's fault."""
        error = sys.exception()
        if error is None or not isinstance(error.__context__, MemoryError):
            super().send_400_response(msg)
        else:
            self.transport.write(NO_MEMORY)
            self.transport.close()

    def _bound(self) -> None:
        if self._kept_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(REFUSAL)
            self.transport.close()
        elif self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
