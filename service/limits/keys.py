"""Keys: who may score, and who may change the model. A key file is read again and again."""

import asyncio
import errno
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Never

from salver.system.daemon import in_daemon_thread
from salver.system.steady_file import read_steady
from salver.text import counted
from service.errors import ScoringError, SettingsError
from service.settings import PREFIX, Freshness, Settings

log = logging.getLogger("salver.service")

CHALLENGE = {"WWW-Authenticate": "Bearer"}
REFUSAL = "Send the header 'Authorization: Bearer KEY' with a key of this service."
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
ANYONE = b""
"""The caller, where no key is configured."""


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
        self._digests = self._parse(content)
        self._judged = _digest(content)
        """The content that was last taken, or refused because it holds no key."""
        self._refusal = ""
        """Why it was refused."""
        self._changed: tuple[bytes, float] | None = None
        """What the last look found in its place, and when it was first found so."""

    def digests(self) -> tuple[bytes, ...]:
        """The keys that are valid; never waits for the file."""
        return self._digests

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
        found = _digest(content)
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
            self._digests = self._parse(content)
        except SettingsError as error:
            self._refusal = str(error)
            self._fail(self._refusal)
        else:
            self.freshness.take()
            log.info("%s was read again: %s", self.freshness.setting, counted(len(self._digests), "key"))

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


class Keys:
    """The keys that are accepted, kept as digests; with none, every caller is."""

    def __init__(self, keys: Iterable[str], file: KeyFile | None = None) -> None:
        self._fixed = tuple(_digest(key.encode()) for key in keys)
        self.file = file
        """To be watched while the service runs."""

    def __bool__(self) -> bool:
        return bool(self._fixed) or self.file is not None

    def check(self, authorization: bytes | None) -> bytes:
        """Judge an Authorization header as it came; returns the caller, as his key's digest.

        Raises ScoringError `unauthorised`, the same for every cause. Every key is compared, in constant time, so that
        the time tells nothing of which one was close.
        """
        if not self:
            return ANYONE
        scheme, _, key = (authorization or b"").partition(b" ")
        offered = _digest(key.strip())
        digests = self._fixed if self.file is None else self._fixed + self.file.digests()
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
    fixed = [] if text is None else _entries(PREFIX + name, text.split(","))
    return Keys(fixed, None if path is None else KeyFile(f"{PREFIX}{name}_FILE", path))


def _entries(source: str, entries: Iterable[str]) -> list[str]:
    keys = [entry.strip() for entry in entries if entry.strip()]
    if not keys:
        raise SettingsError(f"{source} holds no key: put one in, or unset it to serve without keys.")
    if short := sum(len(key) < SHORT_KEY for key in keys):
        log.warning("%s has %s of fewer than %d characters: easily guessed", source, counted(short, "key"), SHORT_KEY)
    return keys


def _digests(source: str, entries: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(_digest(key.encode()) for key in _entries(source, entries))


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
