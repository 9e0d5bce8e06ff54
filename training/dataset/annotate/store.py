"""The images of a folder and what has been said about them, for the annotation page: read, changed and kept on disk."""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from training.dataset.inspection.files import Stamp
from training.dataset.reading.alike import alike, described, difference
from training.dataset.reading.annotations import FILE_NAME, Annotation, read_annotations, write_annotations
from training.dataset.reading.doubtful import read_doubtful
from training.dataset.reading.folder import Folder, nfc, scan
from training.errors import DatasetError


class ChangedElsewhere(DatasetError):
    """annotations.csv is not the one that the change was made on; nothing was written."""


@dataclass(frozen=True)
class Change:
    """What an image's row is to be."""

    name: str
    annotation: Annotation


@dataclass(frozen=True)
class State:
    """A folder and its annotations by name in NFC; `version` names the content of the file that they were read from."""

    folder: Folder
    annotations: dict[str, Annotation]
    version: str


class AnnotationStore:
    """Of one folder. Raises DatasetError from the start when it cannot be read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = scan(root)
        self._paths = {image.name: image.path for image in self._folder.images}
        read_annotations(root)
        read_doubtful(root)

    def state(self) -> State:
        """As it is on disk now, new images included. Raises DatasetError."""
        self._folder = scan(self.root)
        self._paths = {image.name: image.path for image in self._folder.images}
        with _locked(self.root):
            return State(self._folder, read_annotations(self.root), self.version())

    def version(self) -> str:
        """Another one whenever the file has been written, by whomever."""
        try:
            return "-".join(map(str, Stamp.of(self.root / FILE_NAME)))
        except FileNotFoundError:
            return "none"

    def path(self, name: str) -> Path | None:
        """Where the image lies; None for a name that the folder does not have."""
        return self._paths.get(name)

    def images(self) -> Sequence[str]:
        """The names, in order."""
        return tuple(self._paths)

    def change(self, changes: Sequence[Change], version: str) -> str:
        """Write the rows and give the new version. Raises ChangedElsewhere, DatasetError and OSError."""
        unknown = [change.name for change in changes if change.name not in self._paths]
        if unknown:
            raise DatasetError(f"There is no image '{unknown[0]}'. Reload the page.")
        with _locked(self.root):
            if version != self.version():
                raise ChangedElsewhere("annotations.csv was changed elsewhere. The page shows it as it is now.")
            annotations = read_annotations(self.root)
            self._refuse_alike(changes, annotations)
            annotations |= {nfc(change.name): change.annotation for change in changes}
            write_annotations(self.root, annotations)
            return self.version()

    def _refuse_alike(self, changes: Sequence[Change], annotations: Mapping[str, Annotation]) -> None:
        """A new label that a person takes for one which is there. Those that are there are given, to put them right."""
        known = {*self._folder.labels, *(found.label for found in annotations.values())} - {""}
        for label in sorted({change.annotation.label for change in changes} - known - {""}):
            for twin in sorted(known):
                if alike([label, twin]):
                    raise DatasetError(
                        f"The new label {described([label])} is as good as {described([twin])}: "
                        f"{difference([label, twin])}. Give the label that is there, or another name."
                    )


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Between two annotation pages on one folder: reading the version and writing must not be torn apart."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
