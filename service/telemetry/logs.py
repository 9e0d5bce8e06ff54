"""Log lines on standard error: JSON for machines, text for people. Never an image, never a key.

A line that standard error does not take at once (a full disk, a reader that hangs or is gone) is dropped and counted:
scoring goes on.
"""

import logging
import os
import select
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import pythonjsonlogger.json
from typing_extensions import override

TEXT_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"
PIPE_BYTES = 4096  # a pipe that says it is writable takes this many without waiting
CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {0x2028: "\\u2028", 0x2029: "\\u2029"}

Fields = dict[str, str | int | float]


class JsonFormatter(pythonjsonlogger.json.JsonFormatter):
    """One JSON object a line, in ASCII."""

    @override
    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        """The record's time, level, logger, message, fields and traceback."""
        log_data |= {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if "exc_info" in message_dict:
            log_data["traceback"] = message_dict["exc_info"]


class TextFormatter(logging.Formatter):
    """The message and its fields on one line, whatever stands in them; a traceback below it."""

    @override
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return _time(record)

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        words = [super().formatMessage(record), *(f"{name}={value}" for name, value in _fields(record).items())]
        return " ".join(words).translate(CONTROL)


def _time(record: logging.LogRecord) -> str:
    """In UTC, as ISO 8601 has it."""
    return f"{_second(int(record.created))}.{int(record.msecs):03d}+00:00"


@lru_cache(maxsize=1)
def _second(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _fields(record: logging.LogRecord) -> Fields:
    fields: Fields = getattr(record, "fields", {})
    return fields


class LineHandler(logging.Handler):
    """Writes lines to a file descriptor without ever waiting for it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.dropped_lines = 0
        self._descriptor = descriptor
        self._cut = False
        if sys.platform != "win32":
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except (TypeError, ValueError, KeyError):  # a message and arguments that do not fit each other
            self.handleError(record)
            return
        data = ("\n" * self._cut + line + "\n").encode(errors="backslashreplace")
        taken = self._write(data)
        if taken < len(data):
            self.dropped_lines += 1
        if taken:
            self._cut = taken < len(data)

    def _write(self, data: bytes) -> int:
        """How many bytes were taken."""
        taken = 0
        try:
            while taken < len(data) and self._is_writable():
                taken += os.write(self._descriptor, data[taken : taken + PIPE_BYTES])
        except OSError:
            pass
        return taken

    def _is_writable(self) -> bool:
        return sys.platform == "win32" or bool(self._poll.poll(0))


def configure_logs(form: Literal["json", "text"]) -> None:
    """Send every logger's lines to standard error in that form."""
    # With standard error closed, number 2 must not go to a socket that is opened later.
    handler = LineHandler(os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else sys.stderr.fileno())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT_FORM))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # No line says them, and looking them up costs a tenth of a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it would announce each step of starting and stopping


def dropped_lines() -> int:
    """Log lines that standard error did not take, since the process began."""
    return sum(handler.dropped_lines for handler in logging.getLogger().handlers if isinstance(handler, LineHandler))
