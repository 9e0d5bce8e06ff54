"""Where a run's results are written: tried before it begins, and whole at its end."""

import tempfile
from pathlib import Path

from loadtest.errors import LoadTestError
from salver.system.durable import check_replaceable, durable
from salver.text import reason


def try_place(path: Path) -> None:
    """Raises LoadTestError where no file can be put; what stands there stays as it is."""
    try:
        check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise LoadTestError(f"{path} cannot be written: {reason(error)}. Name another place.") from error


def keep(path: Path, text: str) -> None:
    """Whole, in place of whatever stands there. Raises OSError, which names the path."""
    with durable(path) as partial:
        partial.write_text(text, encoding="utf-8")
