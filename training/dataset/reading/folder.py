"""What lies in a folder of photos: image files, the folders that are labels, and everything else."""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from salver.artifact.errors import UnsupportedImage
from salver.artifact.formats import identify
from salver.system.regular_file import open_regular
from salver.text import printable
from training.dataset.reading.layout import Part, layout_notes, part_folders
from training.dataset.reading.own import AUGMENTED, is_own, is_own_picture
from training.errors import DatasetError

JUNK = frozenset(
    ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "@eadir"]
)
"""What operating systems leave behind, in lower case; hidden names (".DS_Store") are junk too."""
OWN_FILES = frozenset(
    [
        *("annotations.csv", "quarantine.csv", "doubtful.csv", "sources.csv", "failures.csv", "split.csv"),
        *("augmented.csv", "check.json"),
    ]
)
"""What Salver itself writes beside the images, at the root."""
IMAGE_SUFFIX = re.compile(
    r"\.(a?png|avifs?|bmp|gif|hei[cf]|ico|j2[ck]|jfif|jp2|jpe?g?|jp[fx]|jxl|mpo|p[bgnp]m|psd|svg|tiff?|webp)",
    re.IGNORECASE,
)
"""A file named like this stays in the set whatever it holds: decoding it will refuse it by name, not skip it."""


@dataclass(frozen=True)
class FoundImage:
    """An image file; `label` is that of its folder, None beside the label folders; `part` where folders are parts."""

    path: Path
    name: str
    label: str | None
    part: Part | None = None


@dataclass(frozen=True)
class Folder:
    """`labels` has every label folder, with or without images; `parts` the folders above them that are parts.

    `own` are folders that Salver wrote, and `notes` say how the folders were understood.
    """

    root: Path
    images: tuple[FoundImage, ...]
    labels: tuple[str, ...]
    ignored: tuple[Path, ...]
    own: tuple[Path, ...] = ()
    parts: Mapping[str, Part] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class _Walk:
    """What is found on the way through the folders.

    `places` are the real paths of all of them, `inner` the names of those of the second level, LABEL/NAME.
    """

    root: Path
    ignored: list[Path] = field(default_factory=list)
    own: list[Path] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    inner: list[str] = field(default_factory=list)


def scan(root: Path) -> Folder:
    """Read a folder: each first-level folder is a label, and the images below it, at any depth, are its images.

    Where the first-level folders are parts of a split, as `layout.py` tells them, the labels are the folders in
    them. An image is told by its content, or by its ending when that is an image's. Links are followed; a folder counts
    once for a label, so loops end. What Salver wrote is known by its contents and left out. Images come in the order of
    their names.

    Raises DatasetError for a folder that cannot be read, two label folders of the same name in Unicode form NFC, a
    folder name that is not UTF-8, and folders of which some are parts and others cannot be.
    """
    try:
        folder, walk = _scan_root(root)
    except OSError as error:
        raise _unreadable(error) from error
    return _laid_out(folder, walk)


def images_below(root: Path) -> tuple[FoundImage, ...]:
    """Every image below a folder, whatever its folders mean. Raises DatasetError as `scan` does."""
    try:
        return _scan_root(root)[0].images
    except OSError as error:
        raise _unreadable(error) from error


def places(root: Path) -> set[str]:
    """The real paths of a folder and of all folders below it that `scan` looks into; none for what is no folder."""
    try:
        return _scan_root(root)[1].places if root.is_dir() else set()
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> DatasetError:
    return DatasetError(f"Cannot read {error.filename}: {error.strerror}. Give a readable folder.")


def nfc(text: str) -> str:
    """Unicode form NFC: macOS stores file names decomposed, people and other systems type them composed."""
    return unicodedata.normalize("NFC", text)


def natural_order(label: str) -> tuple[list[tuple[str, int]], str]:
    """A sort key that puts "2" before "10"."""
    pairs = re.findall(r"(\D*)(\d*)", label)
    return [(text, int(digits) if digits else -1) for text, digits in pairs], label


def _scan_root(root: Path) -> tuple[Folder, _Walk]:
    """Each first-level folder as a label."""
    walk = _Walk(root, places={os.path.realpath(root)})
    images: list[FoundImage] = []
    folders: dict[str, os.DirEntry[str]] = {}
    for entry in _photo_entries(root, walk):
        if entry.name.lower() in OWN_FILES:
            continue
        if _is_junk(entry.name):
            walk.ignored.append(Path(entry.path))
        elif _is_folder(entry):
            label, before = _label(entry), len(walk.own)
            below = list(_below(entry, label, {os.path.realpath(root)}, walk))
            if below or len(walk.own) == before:
                _refuse_twin(label, entry, folders)
                folders[label] = entry
                images += below
        elif _is_image(entry):
            images.append(FoundImage(Path(entry.path), entry.name, None))
        else:
            walk.ignored.append(Path(entry.path))
    images.sort(key=lambda image: nfc(image.name))
    own = tuple(sorted(path for path in walk.own if not set(path.parents) & set(walk.own)))
    found = Folder(root, tuple(images), _ordered(folders), tuple(sorted(walk.ignored)), own)
    return replace(found, notes=_own_notes(found)), walk


def _laid_out(folder: Folder, walk: _Walk) -> Folder:
    """The same with the folders below as labels where those of the first level are parts of a split."""
    names = [nfc(image.name) for image in folder.images]
    parts = part_folders(names)
    notes = (*folder.notes, *layout_notes(parts, names), *_unread_notes(folder))
    if not parts:
        return replace(folder, notes=notes)
    images = tuple(_in_part(image, parts) for image in folder.images)
    written = {above for path in folder.own for above in (path, *path.parents)}
    inner = {
        nfc(name).split("/")[1]
        for name in walk.inner
        if nfc(name).split("/")[0] in parts and folder.root / name not in written
    }
    labels = _ordered({*inner, *(image.label for image in images if image.label)})
    return replace(folder, images=images, labels=labels, parts=parts, notes=notes)


def _in_part(image: FoundImage, parts: Mapping[str, Part]) -> FoundImage:
    """With the label of its second-level folder; one that lies above those has none, and at the root no part."""
    top, *inner = image.name.split("/")
    part = parts.get(nfc(top))
    if len(inner) < 2:
        return replace(image, label=None, part=part)
    _check_name(inner[0], image.path.parent)
    return replace(image, label=nfc(inner[0]), part=part)


def _own_notes(folder: Folder) -> tuple[str, ...]:
    if not folder.own:
        return ()
    names = ", ".join(printable(path.relative_to(folder.root)) for path in folder.own[:5])
    more = ", …" if len(folder.own) > 5 else ""
    return (f"written by Salver and left out: {names}{more}",)


def _unread_notes(folder: Folder) -> tuple[str, ...]:
    """Annotations count only beside the folder that is read, not further down, where another command wrote them."""
    names = [printable(path) for path in folder.ignored if path.name.lower() in ("annotations.csv", "quarantine.csv")]
    return tuple(f"{name} is not used: only those directly in {printable(folder.root)} are" for name in names)


def _below(folder: os.DirEntry[str], label: str, seen: set[str], walk: _Walk) -> Iterator[FoundImage]:
    """The images of one label; their names begin with the label's folder as it is on disk."""
    waiting = [(folder.path, folder.name)]
    seen.add(os.path.realpath(folder.path))
    while waiting:
        place, name = waiting.pop()
        for entry in _photo_entries(place, walk):
            if _is_junk(entry.name):
                walk.ignored.append(Path(entry.path))
            elif _is_folder(entry) and (real := os.path.realpath(entry.path)) not in seen:
                seen.add(real)
                waiting.append((entry.path, f"{name}/{entry.name}"))
                if place == folder.path:
                    walk.inner.append(f"{name}/{entry.name}")
            elif _is_image(entry):
                yield FoundImage(Path(entry.path), f"{name}/{entry.name}", label)
            else:
                walk.ignored.append(Path(entry.path))
    walk.places |= seen


def _photo_entries(folder: Path | str, walk: _Walk) -> list[os.DirEntry[str]]:
    """Without what Salver wrote, where the folder is one of its own: photos that somebody put there, too, stay."""
    entries = _entries(folder)
    names = {entry.name for entry in entries}
    at_root = Path(folder) == walk.root
    if not is_own(names - OWN_FILES if at_root else names):
        return entries
    if at_root:
        return [entry for entry in entries if not is_own_picture(entry.name)]
    walk.own.append(Path(folder))
    if AUGMENTED in names:
        return []
    return [entry for entry in entries if _is_folder(entry) or (_is_image(entry) and not is_own_picture(entry.name))]


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


def _label(entry: os.DirEntry[str]) -> str:
    _check_name(entry.name, Path(entry.path))
    return nfc(entry.name)


def _check_name(name: str, path: Path) -> None:
    if printable(name) != name:
        raise DatasetError(
            f"The folder {printable(path)} has bytes that are not UTF-8 or control characters in its name, so it "
            "cannot be a label. Rename it."
        )


def _refuse_twin(label: str, entry: os.DirEntry[str], folders: Mapping[str, os.DirEntry[str]]) -> None:
    if label in folders:
        raise DatasetError(
            f"The folders {folders[label].name!a} and {entry.name!a} in {Path(entry.path).parent} are one label in "
            f"Unicode form NFC: '{label}'. Put their images into one folder."
        )


def _ordered(labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(labels, key=natural_order))
