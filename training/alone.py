"""One run at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artifact.lock import Taken, locked
from training.errors import SettingError

LOCK = ".salver.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other commands from writing to `folder`, which is made where it is missing, until the block ends.

    A folder that was made for nothing is taken away again. Raises SettingError, with the other's process id and
    machine, when one is at it; and OSError.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / LOCK):
            yield
    except Taken as error:
        raise SettingError(f"{folder} is in use by {error.who}. {error.advice}") from None
    finally:
        if is_new:
            with suppress(OSError):  # something lies in it
                folder.rmdir()
