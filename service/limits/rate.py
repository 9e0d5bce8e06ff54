"""How many images each key may have scored: a token bucket for every caller."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from salver.text import counted
from service.errors import overloaded


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
