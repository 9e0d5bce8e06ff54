"""A file of keys, which is read again and again; and keys as they are kept, as digests."""

import asyncio
import errno
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Never

from salver.system.daemon import in_daemon_thread
from salver.system.steady_file import read_steady
from salver.text import counted
from service.errors import SettingsError
from service.settings import Freshness

log = logging.getLogger("salver.service")

LOOK_SECONDS = 0.4
"""From one look at a key file to the next."""
SETTLE_SECONDS = 0.5
"""How long a changed file has to stay the same: it may be written in parts, and a part of a key is no key."""
UNSETTLED_LOOK_SECONDS = 0.1
"""From look to look meanwhile, so that a change is in force within about a second."""
PATIENCE_SECONDS = 5.0
"""Without an answer from the file's disk, or without a moment in which nobody writes, before that is a fault."""
MAX_FILE_BYTES = 1024**2
SHORT_KEY = 16
"""Characters: a key of fewer is warned of."""
COMMENT = "#"


class KeyFile:
    """A file with one key a line; a line that begins with # is a comment.

    It is read at every look and compared by content: equal size and time of change prove nothing, and it is small. A
    changed one counts once it has stayed the same for SETTLE_SECONDS. Until then, and while it cannot be read or
    holds no key, the keys before are valid.
    """

    def __init__(self, setting: str, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises SettingsError when there is no key in it."""
        self.freshness = Freshness(setting, clock)
        self._path = path
        self._clock = clock
        try:
            content = read_steady(path, MAX_FILE_BYTES)
        except OSError as error:
            raise SettingsError(self._unread(error)) from error
        self.digests = self._parse(content)
        """The keys that are valid."""
        self._judged = digest(content)
        """The content that was last taken, or refused because it holds no key."""
        self._refusal = ""
        """Why it was refused."""
        self._changed: tuple[bytes, float] | None = None
        """What the last look found in its place, and when it was first found so."""

    async def watch(self) -> Never:
        """Look again and again, for good. Files are read on another thread: one may lie on a disk that hangs."""
        pause = LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            looking = asyncio.create_task(in_daemon_thread(self.look))
            try:
                await asyncio.wait([looking], timeout=PATIENCE_SECONDS)
                if not looking.done():
                    self._fail(f"{self.freshness.setting} cannot be read: {self._path} does not answer.")
                found = await looking
            finally:
                looking.cancel()
            if isinstance(found, Exception):  # no thread, or no memory: next time
                self._fail(f"{self.freshness.setting} cannot be read: {found}.")
                found = LOOK_SECONDS
            pause = found

    def look(self) -> float:
        """Read the file once. Returns the seconds until it should be looked at again. For one thread at a time."""
        now = self._clock()
        try:
            content = read_steady(self._path, MAX_FILE_BYTES)
        except OSError as error:
            self._changed = None
            if error.errno == errno.EAGAIN:
                return self._wait()
            self._fail(self._unread(error))
            return LOOK_SECONDS
        found = digest(content)
        if found == self._judged:
            self._changed = None
            if self._refusal:
                self._fail(self._refusal)
            else:
                self.freshness.confirm()
            return LOOK_SECONDS
        if self._changed is None or self._changed[0] != found:
            self._changed = found, now
        if now - self._changed[1] < SETTLE_SECONDS:
            return self._wait()
        self._judge(content, found)
        return LOOK_SECONDS

    def _judge(self, content: bytes, found: bytes) -> None:
        self._judged, self._changed, self._refusal = found, None, ""
        try:
            self.digests = self._parse(content)
        except SettingsError as error:
            self._refusal = str(error)
            self._fail(self._refusal)
        else:
            self.freshness.take()
            log.info("%s was read again: %s", self.freshness.setting, counted(len(self.digests), "key"))

    def _wait(self) -> float:
        if self.freshness.confirmed_seconds > PATIENCE_SECONDS:
            self._fail(f"{self.freshness.setting} ({self._path}) is written to all the time.")
        return UNSETTLED_LOOK_SECONDS

    def _fail(self, fault: str) -> None:
        if self.freshness.fail(fault):
            log.error("%s The keys before stay valid.", fault)

    def _parse(self, content: bytes) -> tuple[bytes, ...]:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise SettingsError(f"{self.freshness.setting} cannot be read: it is not text in UTF-8.") from None
        # Not splitlines(), which also divides at characters that a key may hold.
        lines = text.replace("\r", "\n").split("\n")
        keys = [line for line in lines if not line.lstrip().startswith(COMMENT)]
        return _digests(f"{self.freshness.setting} ({self._path})", keys)

    def _unread(self, error: OSError) -> str:
        return f"{self.freshness.setting} cannot be read: {error.strerror}: '{self._path}'."


def entries(source: str, found: Iterable[str]) -> list[str]:
    """The keys without the white space around them. Raises SettingsError when there is none."""
    keys = [entry.strip() for entry in found if entry.strip()]
    if not keys:
        raise SettingsError(f"{source} holds no key: put one in, or unset it to serve without keys.")
    if short := sum(len(key) < SHORT_KEY for key in keys):
        log.warning("%s has %s of fewer than %d characters: easily guessed", source, counted(short, "key"), SHORT_KEY)
    return keys


def _digests(source: str, found: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(digest(key.encode()) for key in entries(source, found))


def digest(key: bytes) -> bytes:
    """What is kept of a key, and compared."""
    return hashlib.sha256(key).digest()
