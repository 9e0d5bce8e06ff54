"""What a request may: who asks, how many images they may have scored, how long it may take, and what it may hold."""

import asyncio
import hashlib
import hmac
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from salver.text import counted
from service.errors import ScoringError, overloaded
from service.limits.key_file import KeyFile, digest, entries
from service.settings import PREFIX, Settings

CHALLENGE = {"WWW-Authenticate": "Bearer"}
REFUSAL = "Send the header 'Authorization: Bearer KEY' with a key of this service."
ANYONE = b""
"""The caller, where no key is configured."""
LATE_SECONDS = 0.02
"""Timing and watching begin after this: they cost a tenth of a request, and many callers have their answer by then."""


class Keys:
    """The keys that are accepted, kept as digests; with none, every caller is."""

    def __init__(self, keys: Iterable[str], file: KeyFile | None = None) -> None:
        self._fixed = tuple(digest(key.encode()) for key in keys)
        self.file = file
        """To be watched while the service runs."""

    def __bool__(self) -> bool:
        return bool(self._fixed) or self.file is not None

    def check(self, authorization: bytes | None) -> bytes:
        """Judge an Authorization header as it came; returns the caller, as their key's digest.

        Raises ScoringError `unauthorised`, the same for every cause. Every key is compared, in constant time, so that
        the time tells nothing of which one was close.
        """
        if not self:
            return ANYONE
        scheme, _, key = (authorization or b"").partition(b" ")
        offered = hashlib.sha256(key.strip()).digest()
        digests = self._fixed if self.file is None else self._fixed + self.file.digests
        matches = [hmac.compare_digest(offered, digest) for digest in digests]
        if scheme.lower() != b"bearer" or not any(matches):
            raise ScoringError("unauthorised", REFUSAL, CHALLENGE)
        return offered


def read_keys(settings: Settings) -> Keys:
    """The keys of `API_KEYS` and `API_KEYS_FILE`. Raises SettingsError when one is there but holds no key."""
    return _keys("API_KEYS", settings.api_keys, settings.api_keys_file)


def read_admin_keys(settings: Settings) -> Keys:
    """The keys of `ADMIN_KEYS` and `ADMIN_KEYS_FILE`. Raises SettingsError when one is there but holds no key."""
    return _keys("ADMIN_KEYS", settings.admin_keys, settings.admin_keys_file)


def _keys(name: str, text: str | None, path: Path | None) -> Keys:
    fixed = [] if text is None else entries(PREFIX + name, text.split(","))
    return Keys(fixed, None if path is None else KeyFile(f"{PREFIX}{name}_FILE", path))


@dataclass(slots=True)
class Bucket:
    """Images that may be scored now, as of a point in time."""

    images: float
    seconds: float


class RateLimit:
    """`images_per_second` for every caller in the long run, `burst` of them at once; None means no limit."""

    def __init__(
        self, images_per_second: float | None, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = images_per_second
        self._burst = max(burst, images_per_second or 0)
        self._clock = clock
        self._buckets: dict[bytes, Bucket] = {}

    def charge(self, caller: bytes, images: int) -> None:
        """Take a request's images out of its caller's bucket. Raises ScoringError `overloaded`, and takes none."""
        if self._rate is None:
            return
        now = self._clock()
        bucket = self._buckets.setdefault(caller, Bucket(self._burst, now))
        bucket.images = min(self._burst, bucket.images + (now - bucket.seconds) * self._rate)
        bucket.seconds = now
        if bucket.images < images:
            seconds = math.ceil((images - bucket.images) / self._rate)
            raise overloaded(
                f"This key may have {counted(self._rate, 'image')} a second scored: try again in "
                f"{counted(seconds, 'second')}.",
                seconds,
            )
        bucket.images -= images


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


class Budget:
    """The memory that bodies, fetched images and answers may hold at once, over all requests until their answers are
    sent. A limit on one request bounds nothing when fifty come together: each counts what it holds here, before it
    holds it.

    For one thread, the event loop's.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    def share(self) -> "Share":
        """One request's or one fetched image's part, empty at first."""
        return Share(self)


class Share:
    """What one holder takes of the budget; a context manager that gives it back."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def grow_to(self, size: int) -> None:
        """Hold `size` bytes from now on, or what is held already if that is more. Raises ScoringError `overloaded`."""
        more, budget = size - self._bytes, self._budget
        if more <= 0:
            return
        if budget.held_bytes + more > budget.max_bytes:
            raise overloaded(
                f"Requests in flight hold {budget.held_bytes} bytes and the limit is {budget.max_bytes}: "
                "try again later."
            )
        budget.held_bytes += more
        self._bytes = size

    def add(self, size: int) -> None:
        """Hold `size` bytes more. Raises ScoringError: `overloaded`, or `invalid-request` for what never fits."""
        if size > self._budget.max_bytes:
            raise ScoringError(
                "invalid-request",
                f"The outputs that are asked for take {size} bytes and the limit is {self._budget.max_bytes}: send "
                "fewer images in a request.",
            )
        self.grow_to(self._bytes + size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.held_bytes -= self._bytes
        self._bytes = 0
