"""What this machine remembers of the deployments that run on it: one folder each, readable for its owner alone."""

import os
import shutil
from pathlib import Path


class Store:
    """Folders `NAME/` with small text files."""

    def __init__(self, target: str) -> None:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self._root = Path(state) / "salver" / target

    def folder(self, name: str) -> Path:
        """The deployment's folder, whether it is there or not."""
        return self._root / name

    def names(self) -> list[str]:
        """Of the deployments remembered."""
        return sorted(path.name for path in self._root.iterdir()) if self._root.is_dir() else []

    def write(self, name: str, file: str, text: str) -> Path:
        """The file, of mode 0600."""
        self.folder(name).mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder(name) / file
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(text)
        return path

    def read(self, name: str, file: str) -> str | None:
        """None when it is not there."""
        path = self.folder(name) / file
        return path.read_text().strip() if path.is_file() else None

    def drop(self, name: str, *files: str) -> None:
        """Remove these files, and folders with what is in them."""
        for path in (self.folder(name) / file for file in files):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def keep(self, name: str, *files: str) -> None:
        """Remove all files but these."""
        self.drop(name, *(path.name for path in self.folder(name).iterdir() if path.name not in files))

    def forget(self, name: str) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder(name), ignore_errors=True)
