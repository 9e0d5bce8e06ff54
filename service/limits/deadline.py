"""How long a request may take: so many seconds, or until its caller goes away."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from salver.text import counted
from service.errors import ScoringError

LATE_SECONDS = 0.02
"""Timing and watching begin after this: they cost a tenth of a request, and many callers have their answer by then."""


class Deadline:
    """Cancels what is awaited inside the block when the time is up or, once `watch` was called, the caller has gone.

    Leaving the block then raises ScoringError `deadline-exceeded`, or ClientDisconnect.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._receive: Receive | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def watch(self, receive: Receive) -> None:
        """The body is read: what `receive` gives from now on can only be that the caller has gone."""
        self._receive = receive
        if self._timeout.when() is not None:
            self._watch()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        loop = asyncio.get_running_loop()
        self._ends = loop.time() + self._seconds
        self._timer = loop.call_later(min(self._seconds, LATE_SECONDS), self._late)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise (ClientDisconnect() if self._gone else self._refusal()) from None

    def _late(self) -> None:
        self._timeout.reschedule(self._ends)
        if self._receive is not None:
            self._watch()

    def _watch(self) -> None:
        assert self._receive is not None
        self._watcher = asyncio.create_task(self._wait_until_gone(self._receive))

    async def _wait_until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._timeout.expired():
            self._gone = True
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def _refusal(self) -> ScoringError:
        if self._receive is not None:
            return ScoringError(
                "deadline-exceeded", f"No answer within {counted(self._seconds, 'second')}: send fewer images."
            )
        # The rest of the body may never come: without closing, one slow sender would keep the connection for good.
        return ScoringError(
            "deadline-exceeded",
            f"The body did not arrive within {counted(self._seconds, 'second')}.",
            {"Connection": "close"},
        )
