"""Photos are read and looked at while torch is imported, which takes seconds of one core.

Nothing is handed over: what an inspection finds is kept by content in the user's cache, where the run finds it. So
faults are told by the run alone, with its own bar, and what is not done by then it does itself.
"""

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from salver.errors import SalverError
from training.dataset.dataset import Dataset
from training.dataset.inspection.files import inspect_files
from training.progress import Silent


class LookingAhead:
    """A context manager: at its end the photos that are being looked at are the last."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        self._thread.join()

    def _look(self) -> None:
        with suppress(SalverError, OSError, _Enough):
            photos = Dataset.from_dir(self._data).images
            inspect_files([photo.path for photo in photos], _Until(self._enough))


class _Enough(Exception):
    """Nobody waits for more."""


class _Until(Silent):
    """Ends the work at the next photo."""

    def __init__(self, enough: threading.Event) -> None:
        self._enough = enough

    def advance(self, images: int, note: str = "") -> None:  # noqa: ARG002  # as others have it
        if self._enough.is_set():
            raise _Enough
