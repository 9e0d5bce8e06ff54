"""The model's runs that are under way, so that one that does not end can be ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import onnxruntime as ort

SILENT = 4  # onnxruntime's log level; what it has to say comes as an exception


class Runs:
    """Filled by the threads that run the model, looked at by the event loop."""

    def __init__(self) -> None:
        self._under_way: dict[int, tuple[float, ort.RunOptions]] = {}

    @contextmanager
    def one(self) -> Iterator[ort.RunOptions]:
        """Around a run, which takes these options."""
        options = ort.RunOptions()
        options.log_severity_level = SILENT
        self._under_way[id(options)] = time.monotonic(), options
        try:
            yield options
        finally:
            del self._under_way[id(options)]

    def end_after(self, seconds: float) -> bool:
        """Tell each run that has taken longer to end, which it does before its next operator; whether there is one."""
        overdue = [options for began, options in list(self._under_way.values()) if time.monotonic() - began > seconds]
        for options in overdue:
            options.terminate = True
        return bool(overdue)
