"""What this machine remembers of the deployments that run on it: one folder each, readable for its owner alone."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salver.client.errors import DeploymentFailed
from salver.deployment.target import NAME
from salver.system.durable import durable
from salver.system.lock import Taken, locked
from salver.system.regular_file import open_regular, read_regular

MAX_BYTES = 64 * 1024
"""Of a state or key; more is not one that was written here."""


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
        if not self._root.is_dir():
            return []
        return sorted(path.name for path in self._root.iterdir() if NAME.fullmatch(path.name) and path.is_dir())

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Keep other commands from changing the deployment. Raises DeploymentFailed when one is at it."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with locked(self._root / f"{name}.lock"):  # beside the folder, which comes and goes; no name has a dot
                yield
        except Taken as error:
            raise DeploymentFailed(f"'{name}' is being deployed or deleted by {error.who}. {error.advice}") from None

    def write(self, name: str, file: str, text: str) -> Path:
        """The file, of mode 0600, whole or as it was."""
        self.folder(name).mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder(name) / file
        with (
            durable(path) as partial,
            os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream,
        ):
            stream.write(text)
        return path

    def read(self, name: str, file: str) -> str | None:
        """None when it is not there. Raises DeploymentFailed when it cannot be read."""
        path = self.folder(name) / file
        try:
            return read_regular(path, MAX_BYTES).decode().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DeploymentFailed(f"{path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise DeploymentFailed(f"{path} is damaged: it is not text in UTF-8.") from error

    def has(self, name: str, file: str = "") -> bool:
        """Whether there is something of that name, or the folder itself; whether it can be read is another matter."""
        return os.path.lexists(self.folder(name) / file)

    def rename(self, name: str, file: str, other: str) -> None:
        """Let a file take the place of another one, which needs no room on the disk."""
        (self.folder(name) / file).replace(self.folder(name) / other)

    def last_lines(self, name: str, file: str, count: int) -> list[str]:
        """The end of a log, which may be long; none where there is no such file."""
        try:
            with open_regular(self.folder(name) / file) as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - MAX_BYTES))
                return stream.read(MAX_BYTES).decode(errors="replace").splitlines()[-count:]
        except OSError:
            return []

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
