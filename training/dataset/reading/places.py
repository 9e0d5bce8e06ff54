"""Where commands write: one at a time in a folder, and never among photos, where the next would take it for photos."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salver.system.durable import check_replaceable
from salver.system.lock import Taken, locked_folder
from salver.text import printable
from training.dataset.reading.folder import IMAGE_SUFFIX, OWN_FILES, places
from training.dataset.reading.own import CHECKPOINT, FIGURES, MODEL, PICTURES, RECORD
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


def refuse_inside(data: Path, out: Path, what: str, own: str = "") -> None:
    """Raises SettingError when `out` lies in the folder of photos `data`, also through links and `..`.

    `own` is the name of the command's own table, which stands directly in that folder, as do others like it. Raises
    DatasetError for a folder that cannot be read.
    """
    place, root = _real(out), _real(data)
    if own and place.parent == root and place.suffix == Path(own).suffix:
        if place.name == own or place.name.lower() not in OWN_FILES:
            return
        raise SettingError(
            f"{what} {printable(out)} would replace what another command keeps there. Name another file."
        )
    folders = {place, *place.parents}
    if root in folders or folders & set(map(Path, places(data))):
        raise _inside(data, out, what)


def refuse_among_photos(out: Path, what: str) -> None:
    """The same for a command that reads no folder of photos: one above `out` is told by what Salver keeps in it.

    Such a folder has one of Salver's tables, and two folders in which images lie.
    """
    for folder in _real(out).parents:
        # A folder that cannot be looked into, such as another user's home, is passed over.
        if any(os.path.isfile(folder / name) for name in OWN_FILES) and _label_folders(folder) > 1:  # noqa: PTH113
            raise _inside(folder, out, what)


def refuse_run(out: Path, what: str) -> None:
    """Raises SettingError when `out` is the folder of a run, finished or not."""
    if _is_run(out):
        raise SettingError(
            f"{what} {printable(out)} holds a run of 'salver train', whose files are not to be mixed with others or "
            "replaced. Name another folder."
        )


def check_file(out: Path, what: str) -> None:
    """Before any work: whether `out` can be the file that a command writes.

    Raises SettingError for one of the files of a run, and for a path through something that is no folder; OSError for
    a folder or a device.
    """
    check_replaceable(out)
    place = _real(out)
    above = next(folder for folder in place.parents if folder.exists())
    if not above.is_dir():
        raise SettingError(f"{what} {printable(out)} cannot be written: {printable(above)} is no folder.")
    if place.exists() and place.name in (MODEL, RECORD, *FIGURES, *PICTURES) and _is_run(place.parent):
        raise SettingError(
            f"{what} {printable(out)} would replace a file of the run of 'salver train' in {printable(place.parent)}. "
            "Name another file."
        )


def _is_run(folder: Path) -> bool:
    """Finished, or begun."""
    return any((folder / name).exists() for name in (MODEL, RECORD, CHECKPOINT))


def _inside(data: Path, out: Path, what: str) -> SettingError:
    return SettingError(
        f"{what} {printable(out)} lies in the folder of photos {printable(data)}, where it would be taken for photos "
        "and labels. Name one outside of it."
    )


def _label_folders(folder: Path) -> int:
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sum(any(IMAGE_SUFFIX.fullmatch(file.suffix) for file in path.iterdir()) for path in inside)
    except OSError:
        return 0


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
