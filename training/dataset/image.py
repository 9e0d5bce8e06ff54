"""One image of a data set."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salver.artifact.errors import DecodingUnavailable, ImageError
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import Header
from salver.system.regular_file import read_regular
from salver.text import counted, printable
from training.dataset.inspection.decoding import decoders
from training.dataset.inspection.files import Stamp
from training.dataset.inspection.inspection import inspect_bytes
from training.dataset.inspection.kept_pixels import Key, kept_pixels
from training.dataset.reading.layout import Part
from training.errors import DatasetError


@dataclass(frozen=True)
class LabelledImage:
    """An image file and its label."""

    path: Path
    label: str
    name: str = ""
    """The path inside the data set, with `/`; the file's own name where none is given."""
    source: str = ""
    """Of an augmented image: the name of the image that it was made from."""
    part: Part | None = None
    """Where the data set's first-level folders are parts of a split."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.name)

    def read(self) -> bytes:
        """The file's bytes. Raises DatasetError when it is no file, too large for an image, or cannot be read."""
        try:
            return read_regular(self.path)
        except OSError as error:
            name = printable(self.path)
            raise DatasetError(f"Cannot read the image {name}: {error.strerror}. Mend or remove it.") from error

    def decode(self, spec: PixelSpec) -> Image.Image:
        """As `salver.artifact.pixels.decode` gives it. Raises DatasetError, by name, when it cannot be read."""
        try:
            return decoders().image(self.read(), spec)[0]
        except (ImageError, DecodingUnavailable) as error:
            raise DatasetError(f"{printable(self.path)}: {error}") from error

    def pixels(self, spec: PixelSpec) -> NDArray[np.uint8]:
        """As `salver.artifact.pixels.to_pixels` gives them: [height, width, 3]. Raises as `decode` does."""
        return self.opened(spec)[0]

    def opened(self, spec: PixelSpec) -> tuple[NDArray[np.uint8], Header]:
        """The pixels, and what the file says of itself; decoded once, as far as `kept_pixels` has room.

        Raises as `decode` does.
        """
        key = self._key(spec)
        found = key and kept_pixels().get(key)
        if found:
            return found
        try:
            found = decoders().pixels(self.read(), spec)
        except (ImageError, DecodingUnavailable) as error:
            raise DatasetError(f"{printable(self.path)}: {error}") from error
        if key and key == self._key(spec):  # or it was exchanged while it was read
            kept_pixels().put(key, found)
        return found

    def _key(self, spec: PixelSpec) -> Key | None:
        with suppress(OSError):
            return self.path, Stamp.of(self.path), spec
        return None

    @cached_property
    def sha256(self) -> str:
        """The image's id: the digest of its content, in hexadecimal. The file is read for it once."""
        return hashlib.sha256(self.read()).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright image in pixels. Raises DatasetError when it cannot be decoded."""
        found = inspect_bytes(self.read())
        if found.problem:
            raise DatasetError(f"{printable(self.path)}: {found.problem}")
        return found.upright_size

    @property
    def size_bytes(self) -> int:
        """Of the file; 0 where there is none."""
        return self.path.stat().st_size if self.path.exists() else 0


def unreadable(reasons: Sequence[str], images: int) -> DatasetError:
    """The error for some of so many images, which `reasons` name."""
    return DatasetError(
        f"{len(reasons)} of {counted(images, 'image')} cannot be read. Mend or remove them:\n  " + "\n  ".join(reasons)
    )


def folders(images: Sequence[LabelledImage]) -> list[str]:
    """What stands before the names of the images: one folder for a data set that was read from a folder."""
    return [printable(folder) for folder in sorted({_folder(image) for image in images})]


def _folder(image: LabelledImage) -> str:
    path = str(image.path)
    return (path.removesuffix(image.name).rstrip("/") or ".") if path.endswith(image.name) else str(image.path.parent)
