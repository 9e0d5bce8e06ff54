"""Where commands write: never among the photos that they read, where the next command would take it for photos."""

import os
from pathlib import Path

from artifact.text import printable
from training.errors import SettingError
from training.folder import OWN_FILES, places


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
        raise SettingError(
            f"{what} {printable(out)} lies in the folder of photos {printable(data)}, where it would be taken for "
            "photos and labels. Name one outside of it."
        )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
