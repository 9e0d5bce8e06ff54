"""Where a run's results are written: tried before it begins, and whole at its end."""

import os
import tempfile
from pathlib import Path

from loadtest.errors import LoadTestError
from salver.system.durable import check_replaceable, durable
from salver.text import reason

RESULT, REPORT, CAPACITY = "result.json", "report.html", "capacity.json"
OF_A_LOAD_TEST = (RESULT, CAPACITY)


def refuse_among_photos(path: Path, images: Path | None) -> None:
    """Raises LoadTestError where a run's file or folder would be taken for a photo or a label."""
    place = path.resolve()
    if images is not None and images.resolve() in (place, *place.parents):
        raise LoadTestError(
            f"{path} lies in the folder of photos {images}, where it would be taken for photos and labels. "
            "Name one outside of it."
        )


def refuse_folder(folder: Path, images: Path | None) -> None:
    """Raises LoadTestError where a run's folder would lie among the photos, or the report of something else be lost."""
    refuse_among_photos(folder, images)
    if os.path.lexists(folder / REPORT) and not any(os.path.lexists(folder / name) for name in OF_A_LOAD_TEST):
        raise LoadTestError(f"{folder} holds a {REPORT} that is not of a load test. Name another folder.")


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
