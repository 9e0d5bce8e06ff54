"""Keys: who may score, and who may change the model. A key file is read again when it changes."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from service.errors import ScoringError, SettingsError
from service.settings import PREFIX, Settings

log = logging.getLogger("salver.service")

CHALLENGE = {"WWW-Authenticate": "Bearer"}
REFUSAL = "Send the header 'Authorization: Bearer KEY' with a key of this service."
LOOK_SECONDS = 1.0
ANYONE = b""
"""The caller, where no key is configured."""


class KeyFile:
    """A file with one key a line, looked at no more than once a second. For one thread, the event loop's."""

    def __init__(self, setting: str, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises SettingsError when there is no key in it."""
        self._setting = setting
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._signature = _signature(path)
        self._fault = ""
        self._digests = self._read()

    def digests(self) -> tuple[bytes, ...]:
        """The keys in the file; those before while it cannot be read or holds none."""
        if (now := self._clock()) - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._digests

    def _look(self) -> None:
        signature = _signature(self._path)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._digests = self._read()
        except SettingsError as error:
            if str(error) != self._fault:
                log.error("%s The keys before stay valid.", error)
            self._fault = str(error)
        else:
            self._fault = ""
            log.info("%s was read again: %d keys", self._setting, len(self._digests))

    def _read(self) -> tuple[bytes, ...]:
        try:
            lines = self._path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self._setting} cannot be read: {error}.") from error
        return _digests(f"{self._setting} ({self._path})", lines)


class Keys:
    """The keys that are accepted, kept as digests; with none, every caller is."""

    def __init__(self, keys: Iterable[str], file: KeyFile | None = None) -> None:
        self._fixed = tuple(_digest(key.encode()) for key in keys)
        self._file = file

    def __bool__(self) -> bool:
        return bool(self._fixed) or self._file is not None

    def check(self, authorization: bytes | None) -> bytes:
        """Judge an Authorization header as it came; returns the caller, as his key's digest.

        Raises ScoringError `unauthorised`, the same for every cause. Every key is compared, in constant time, so that
        the time tells nothing of which one was close.
        """
        if not self:
            return ANYONE
        scheme, _, key = (authorization or b"").partition(b" ")
        offered = _digest(key.strip())
        digests = self._fixed if self._file is None else self._fixed + self._file.digests()
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
    return keys


def _digests(source: str, entries: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(_digest(key.encode()) for key in _entries(source, entries))


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _signature(path: Path) -> tuple[int, ...]:
    """Changes when the file does, or when a link to it is turned to another one as Kubernetes does; () for no file."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
