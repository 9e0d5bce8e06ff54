"""Whether what is in force is still what its file holds: for the log, `/readyz` and `/metrics`."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger("salver.service")


class Freshness:
    """Of one file that is looked at again and again. Times are the monotonic clock's, in seconds."""

    def __init__(self, setting: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.setting = setting
        """The variable that names the file."""
        self.fault = ""
        """What keeps the file's content from being in force, a reason or a version; empty while it is."""
        self._clock = clock
        self._taken = self._confirmed = clock()

    @property
    def taken_seconds(self) -> float:
        """Since what is in force was taken from the file."""
        return self._clock() - self._taken

    @property
    def confirmed_seconds(self) -> float:
        """Since a look last found in the file what is in force."""
        return self._clock() - self._confirmed

    def take(self) -> None:
        """What the file holds is in force from now on."""
        self._taken = self._clock()
        self.fault = ""
        self.confirm()

    def confirm(self) -> None:
        """A look found in the file what is in force."""
        self._confirmed = self._clock()
        if self.fault:
            log.info("%s holds what is in force again", self.setting)
        self.fault = ""

    def fail(self, fault: str) -> bool:
        """What is in force may not be what the file holds. Whether that fault is news."""
        news, self.fault = fault != self.fault, fault
        return news
