"""One run at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salver.system.lock import Taken, locked_folder
from training.errors import SettingError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other commands from writing to `folder`, which is made where it is missing, until the block ends.

    A folder that was made for nothing is taken away again. Raises SettingError, with the other's process id and
    machine, when one is at it; and OSError.
    """
    try:
        with locked_folder(folder):
            yield
    except Taken as error:
        raise SettingError(f"{folder} is in use by {error.who}. {error.advice}") from None
