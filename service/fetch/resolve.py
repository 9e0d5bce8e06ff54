"""Names to addresses, by the system's resolver: in threads of its own, because a silent name server holds each for as
long as 30 seconds, and nothing can end it.

So the wait is bounded, not the thread: a caller has so many lookups at a time, whether they still wait for them or not,
and one name has one. Silent names are then felt by whoever sends them.
"""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar

LOOKUP_SECONDS = 5.0
MAX_LOOKUPS = 128
MAX_LOOKUPS_PER_CALLER = 16
CALLER: ContextVar[bytes] = ContextVar("caller", default=b"")
"""Whose request asks."""

Answer = Sequence[str] | Exception


def look_up(host: str) -> list[str]:
    """The system's addresses for a name, in its order of preference; none for an unknown name. Waits for them.

    Raises:
        socket.gaierror: the name server does not answer.
    """
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        return []
    return [str(address[0]) for *_, address in answers]


class Resolver:
    """`look_up` without waiting on the event loop's thread. For one event loop."""

    def __init__(
        self, look_up: Callable[[str], Sequence[str]] = look_up, lookup_seconds: float = LOOKUP_SECONDS
    ) -> None:
        self._look_up = look_up
        self._lookup_seconds = lookup_seconds
        self._running: dict[str, asyncio.Future[Answer]] = {}
        self._callers: Counter[bytes] = Counter()
        self._ended: asyncio.Event | None = None

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        """The addresses, in order of preference; none for an unknown name.

        Raises:
            socket.gaierror: the name server does not answer in time.
        """
        try:
            async with asyncio.timeout(self._lookup_seconds):
                answer = await asyncio.shield(await self._lookup(host, CALLER.get()))
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "The name server does not answer in time") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _lookup(self, host: str, caller: bytes) -> asyncio.Future[Answer]:
        """The one of this name that runs, or a new one as soon as there is room for it."""
        while host not in self._running:
            if len(self._running) < MAX_LOOKUPS and self._callers[caller] < MAX_LOOKUPS_PER_CALLER:
                return self._begin(host, caller)
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()
        return self._running[host]

    def _begin(self, host: str, caller: bytes) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        future = self._running[host] = loop.create_future()
        self._callers[caller] += 1

        def run() -> None:
            try:
                answer: Answer = self._look_up(host)
            except (OSError, ValueError) as error:  # ValueError: a name that cannot be encoded
                answer = error
            with suppress(RuntimeError):  # the service has ended meanwhile
                loop.call_soon_threadsafe(self._end, host, caller, answer)

        threading.Thread(target=run, name="resolver", daemon=True).start()
        return future

    def _end(self, host: str, caller: bytes, answer: Answer) -> None:
        self._running.pop(host).set_result(answer)
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]
        if self._ended is not None:
            self._ended.set()
            self._ended = None
