"""Service keys: who may score."""

import hashlib
import hmac
from collections.abc import Iterable

from service.errors import ScoringError, SettingsError
from service.settings import Settings

CHALLENGE = {"WWW-Authenticate": "Bearer"}
REFUSAL = "Send the header 'Authorization: Bearer KEY' with a key of this service."


class Keys:
    """The keys that are accepted, kept as digests; with none, every caller is."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, authorization: bytes | None) -> None:
        """Judge an Authorization header as it came. Raises ScoringError `unauthorised`, the same for every cause.

        Every key is compared, in constant time, so that the time tells nothing of which one was close.
        """
        if not self._digests:
            return
        scheme, _, key = (authorization or b"").partition(b" ")
        offered = _digest(key.strip())
        matches = [hmac.compare_digest(offered, digest) for digest in self._digests]
        if scheme.lower() != b"bearer" or not any(matches):
            raise ScoringError("unauthorised", REFUSAL, CHALLENGE)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def read_keys(settings: Settings) -> Keys:
    """The keys of `API_KEYS` and `API_KEYS_FILE`. Raises SettingsError when one is there but holds no key."""
    keys: list[str] = []
    if settings.api_keys is not None:
        keys += _nonempty("SALVER_API_KEYS", settings.api_keys.split(","))
    if settings.api_keys_file is not None:
        try:
            lines = settings.api_keys_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"SALVER_API_KEYS_FILE cannot be read: {error}.") from error
        keys += _nonempty(f"SALVER_API_KEYS_FILE ({settings.api_keys_file})", lines)
    return Keys(keys)


def _nonempty(source: str, entries: Iterable[str]) -> list[str]:
    keys = [entry.strip() for entry in entries if entry.strip()]
    if not keys:
        raise SettingsError(f"{source} holds no key: put one in, or unset it to serve without keys.")
    return keys
