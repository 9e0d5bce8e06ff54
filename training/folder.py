"""What lies in a folder of photos: image files, their first-level folder, and everything else."""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artifact.errors import UnsupportedImage
from artifact.formats import identify
from artifact.regular_file import open_regular
from artifact.text import printable
from training.errors import DatasetError

JUNK = frozenset(
    ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "@eadir"]
)
"""What operating systems leave behind, in lower case; hidden names (".DS_Store") are junk too."""
OWN_FILES = frozenset(
    ["annotations.csv", "quarantine.csv", "sources.csv", "failures.csv", "split.csv", "augmented.csv", "check.json"]
)
"""What Salver itself writes beside the images, at the root."""
IMAGE_SUFFIX = re.compile(
    r"\.(a?png|avifs?|bmp|gif|hei[cf]|ico|j2[ck]|jfif|jp2|jpe?g?|jp[fx]|jxl|mpo|p[bgnp]m|psd|svg|tiff?|webp)",
    re.IGNORECASE,
)
"""A file named like this stays in the set whatever it holds: decoding it will refuse it by name, not skip it."""


@dataclass(frozen=True)
class FoundImage:
    """An image file; `label` is that of its first-level folder, None at the root."""

    path: Path
    name: str
    label: str | None


@dataclass(frozen=True)
class Folder:
    """`labels` has every first-level folder, with or without images."""

    root: Path
    images: tuple[FoundImage, ...]
    labels: tuple[str, ...]
    ignored: tuple[Path, ...]


def scan(root: Path) -> Folder:
    """Read a folder: each first-level folder is a label, and the images below it, at any depth, are its images.

    An image is told by its content, or by its ending when that is an image's. Links are followed; a folder counts once
    for a label, so loops end. Images come in the order of their names.

    Raises DatasetError for a folder that cannot be read, two label folders of the same name in Unicode form NFC, and a
    folder name that is not UTF-8.
    """
    try:
        return _scan_root(root)
    except OSError as error:
        raise DatasetError(f"Cannot read {error.filename}: {error.strerror}. Give a readable folder.") from error


def nfc(text: str) -> str:
    """Unicode form NFC: macOS stores file names decomposed, people and other systems type them composed."""
    return unicodedata.normalize("NFC", text)


def natural_order(label: str) -> tuple[list[tuple[str, int]], str]:
    """A sort key that puts "2" before "10"."""
    pairs = re.findall(r"(\D*)(\d*)", label)
    return [(text, int(digits) if digits else -1) for text, digits in pairs], label


def _scan_root(root: Path) -> Folder:
    ignored: list[Path] = []
    images: list[FoundImage] = []
    folders: dict[str, os.DirEntry[str]] = {}
    for entry in _entries(root):
        if entry.name.lower() in OWN_FILES:
            continue
        if _is_junk(entry.name):
            ignored.append(Path(entry.path))
        elif _is_folder(entry):
            label = _label(entry, folders)
            folders[label] = entry
            images += _below(entry, label, {os.path.realpath(root)}, ignored)
        elif _is_image(entry):
            images.append(FoundImage(Path(entry.path), entry.name, None))
        else:
            ignored.append(Path(entry.path))
    images.sort(key=lambda image: nfc(image.name))
    return Folder(root, tuple(images), tuple(sorted(folders, key=natural_order)), tuple(sorted(ignored)))


def _below(folder: os.DirEntry[str], label: str, seen: set[str], ignored: list[Path]) -> Iterator[FoundImage]:
    """The images of one label; their names begin with the label's folder as it is on disk."""
    waiting = [(folder.path, folder.name)]
    seen.add(os.path.realpath(folder.path))
    while waiting:
        place, name = waiting.pop()
        for entry in _entries(place):
            if _is_junk(entry.name):
                ignored.append(Path(entry.path))
            elif _is_folder(entry) and (real := os.path.realpath(entry.path)) not in seen:
                seen.add(real)
                waiting.append((entry.path, f"{name}/{entry.name}"))
            elif _is_image(entry):
                yield FoundImage(Path(entry.path), f"{name}/{entry.name}", label)
            else:
                ignored.append(Path(entry.path))


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Of a link, what it leads to; a link to itself is no folder."""
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _is_image(entry: os.DirEntry[str]) -> bool:
    if IMAGE_SUFFIX.fullmatch(Path(entry.name).suffix):
        # A link to nowhere is refused by name when it is read.
        return not entry.is_symlink() or Path(entry.path).is_file() or not Path(entry.path).exists()
    if not Path(entry.path).is_file():
        return False
    try:
        with open_regular(entry.path) as stream:
            header = stream.read(256)
        identify(header)
    except UnsupportedImage:
        return False
    return True


def _label(entry: os.DirEntry[str], folders: dict[str, os.DirEntry[str]]) -> str:
    if printable(entry.name) != entry.name:
        raise DatasetError(
            f"The folder {printable(entry.path)} has bytes that are not UTF-8 or control characters in its name, so it "
            "cannot be a label. Rename it."
        )
    label = nfc(entry.name)
    if label in folders:
        raise DatasetError(
            f"The folders {folders[label].name!a} and {entry.name!a} in {Path(entry.path).parent} are one label in "
            f"Unicode form NFC: '{label}'. Put their images into one folder."
        )
    return label
