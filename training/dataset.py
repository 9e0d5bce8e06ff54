"""A data set: labelled images, read from a folder of folders and split into two parts."""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Self

from artifact.errors import UnsupportedImage
from artifact.formats import identify
from training.errors import DatasetError

JUNK = frozenset(
    ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "@eadir"]
)
"""What operating systems leave behind, in lower case; hidden names (".DS_Store") are junk too."""
IMAGE_SUFFIX = re.compile(
    r"\.(a?png|avifs?|bmp|gif|hei[cf]|ico|j2[ck]|jfif|jp2|jpe?g?|jp[fx]|jxl|mpo|p[bgnp]m|psd|svg|tiff?|webp)",
    re.IGNORECASE,
)
"""A file named like this stays in the set whatever it holds: decoding it will refuse it by name, not skip it."""


@dataclass(frozen=True)
class LabelledImage:
    """An image file and its label."""

    path: Path
    label: str

    def read(self) -> bytes:
        """The file's bytes. Raises DatasetError when it cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            name = _printable(self.path)
            raise DatasetError(f"Cannot read the image {name}: {error.strerror}. Mend or remove it.") from error

    @cached_property
    def sha256(self) -> str:
        """The digest of the content, in hexadecimal; the file is read for it once."""
        return hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Labelled images; every label, in class order; and what the folder held that is neither."""

    images: tuple[LabelledImage, ...]
    labels: tuple[str, ...]
    ignored: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def from_dir(cls, root: Path | str) -> Self:
        """Read a folder: each first-level folder is a label, and the images below it, at any depth, are its images.

        Labels are in Unicode form NFC and in natural order ("2" before "10"), images in the order of their relative
        paths. An image is told by its content, or by its ending when that is an image's. Links are followed; a folder
        counts once for a label, so loops end. Whatever else lies there is in `ignored`.

        Raises DatasetError for a folder that cannot be read, fewer than two labels, a label without images, two
        folders of the same name in NFC, and a folder name that is not UTF-8.
        """
        root = Path(root)
        ignored: list[Path] = []
        try:
            folders = _label_folders(root, ignored)
            images = [
                LabelledImage(path, label)
                for label, folder in folders.items()
                for path in _label_images(folder, label, root, ignored)
            ]
        except OSError as error:
            raise DatasetError(f"Cannot read {error.filename}: {error.strerror}. Give a readable folder.") from error
        images.sort(key=lambda image: _nfc(image.path.relative_to(root).as_posix()))
        return cls(tuple(images), tuple(sorted(folders, key=_natural_key)), tuple(sorted(ignored)))

    def counts(self) -> dict[str, int]:
        """The number of images of each label, in class order."""
        found = Counter(image.label for image in self.images)
        return {label: found[label] for label in self.labels}

    def fingerprint(self) -> str:
        """sha256 over the sorted pairs of label and content digest: file names and places play no part."""
        pairs = sorted((image.label, image.sha256) for image in self.images)
        return hashlib.sha256("".join(f"{label}\0{digest}\n" for label, digest in pairs).encode()).hexdigest()

    def summary(self) -> str:
        """A few lines to print: the count of each label, and one note on what was ignored."""
        lines = [f"{len(self)} images, {len(self.labels)} labels"]
        lines += [f"  {label}: {count}" for label, count in self.counts().items()]
        if self.ignored:
            names = ", ".join(map(_printable, self.ignored[:5]))
            lines.append(f"{len(self.ignored)} ignored: {names}{', …' if len(self.ignored) > 5 else ''}")
        return "\n".join(lines)

    def split(self, train_size: float = 0.66, stratify: bool = True, seed: int = 0) -> tuple[Self, Self]:
        """Two parts, the first with a share of `train_size`, rounded down to whole images; both keep all labels.

        With `stratify` each label has that share, by largest remainder, and images in both parts. Byte-identical
        images stay together. The choice goes by hashes over seed and content, so that a seed gives the same split on
        every machine and wherever the folder lies.

        Raises DatasetError for a share outside (0, 1) and for a label with too few different images.
        """
        if not 0 < train_size < 1:
            raise DatasetError(f"train_size is {train_size}; give a share between 0 and 1, such as 0.66.")
        strata = self._strata(stratify, seed)
        sizes = {name: sum(map(len, groups)) for name, groups in strata.items()}
        quotas = _largest_remainder(sizes, Fraction(str(train_size)))
        chosen = {image for name, groups in strata.items() for image in _fill(groups, quotas[name])}
        first = type(self)(tuple(image for image in self.images if image in chosen), self.labels)
        for label, count in first.counts().items():
            if count == 0:
                raise DatasetError(f"The first part has no image of '{label}'. Split with stratify=True.")
        return first, type(self)(tuple(image for image in self.images if image not in chosen), self.labels)

    def _strata(self, stratify: bool, seed: int) -> dict[str, list[list[LabelledImage]]]:
        """Label (or "all labels") to groups of byte-identical images, in the order of choice."""
        groups: dict[str, list[LabelledImage]] = defaultdict(list)
        for image in self.images:
            groups[image.sha256].append(image)
        strata: dict[str, list[list[LabelledImage]]] = {
            name: [] for name in (self.labels if stratify else ["all labels"])
        }
        for digest in sorted(groups, key=lambda digest: hashlib.sha256(f"{seed} {digest}".encode()).digest()):
            strata[groups[digest][0].label if stratify else "all labels"].append(groups[digest])
        for name, members in strata.items():
            if len(members) < 2:
                raise DatasetError(
                    f"Too few images for two parts: '{name}' has {len(members)} (identical copies count as one, under "
                    "the first label that has them). Add images or remove the label."
                )
        return strata


def _label_folders(root: Path, ignored: list[Path]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if _is_junk(path) or not path.is_dir():
            ignored.append(path)
            continue
        label = _label(path)
        if label in folders:
            raise DatasetError(
                f"The folders {folders[label].name!a} and {path.name!a} in {root} are one label in Unicode form NFC: "
                f"'{label}'. Put their images into one folder."
            )
        folders[label] = path
    if len(folders) < 2:
        found = f"only the label '{next(iter(folders))}'" if folders else f"no folders, {len(ignored)} other entries"
        raise DatasetError(f"{root} has {found}. It needs at least 2 labels: one folder of images for each.")
    return folders


def _label_images(folder: Path, label: str, root: Path, ignored: list[Path]) -> list[Path]:
    images = list(_scan(folder, {root.resolve()}, ignored))
    if not images:
        raise DatasetError(f"The label '{label}' has no images: {folder} holds none. Add images or remove the folder.")
    return images


def _scan(folder: Path, seen: set[Path], ignored: list[Path]) -> Iterator[Path]:
    seen.add(folder.resolve())
    for path in sorted(folder.iterdir()):
        if _is_junk(path):
            ignored.append(path)
        elif path.is_dir() and path.resolve() not in seen:
            yield from _scan(path, seen, ignored)
        elif _is_image(path):
            yield path
        else:
            ignored.append(path)


def _is_junk(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in JUNK


def _is_image(path: Path) -> bool:
    if IMAGE_SUFFIX.fullmatch(path.suffix):
        return path.is_file() or not path.exists()  # A link to nowhere is refused by name when it is read.
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        header = stream.read(256)
    try:
        identify(header)
    except UnsupportedImage:
        return False
    return True


def _label(path: Path) -> str:
    if _printable(path) != str(path):
        raise DatasetError(f"The folder {_printable(path)} has no UTF-8 name, so it cannot be a label. Rename it.")
    return _nfc(path.name)


def _printable(path: Path) -> str:
    """The path, with the bytes of a name that is not UTF-8 written out: printing them raw would fail."""
    return str(path).encode(errors="backslashreplace").decode()


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _natural_key(label: str) -> tuple[list[tuple[str, int]], str]:
    pairs = re.findall(r"(\D*)(\d*)", label)
    return [(text, int(digits) if digits else -1) for text, digits in pairs], label


def _largest_remainder(sizes: dict[str, int], share: Fraction) -> dict[str, int]:
    """Whole numbers near `share` of each size whose sum is `share` of all, rounded down."""
    quotas = {name: int(share * size) for name, size in sizes.items()}
    left = int(share * sum(sizes.values())) - sum(quotas.values())
    by_remainder = sorted(sizes, key=lambda name: quotas[name] - share * sizes[name])
    return {name: quotas[name] + (name in by_remainder[:left]) for name in sizes}


def _fill(groups: list[list[LabelledImage]], quota: int) -> list[LabelledImage]:
    """Whole groups up to `quota` images: at least the first, and never the last."""
    taken = list(groups[0])
    for group in groups[1:-1]:
        if len(taken) + len(group) <= quota:
            taken += group
    return taken
