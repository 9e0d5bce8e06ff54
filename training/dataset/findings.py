"""What a check can find in a set of photos: one small function a kind of finding."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from salver.text import counted, printable
from training.dataset.collection import Collection
from training.dataset.image import LabelledImage
from training.dataset.inspection.duplicates import identical, joined, near_pairs
from training.dataset.inspection.inspection import Inspection
from training.dataset.reading.alike import alike, described, difference

TINY_SIDE = 32
"""Pixels: a net sees nothing in a shorter side that it would not have to make up."""
EXTREME_RATIO = 4
IMBALANCE_RATIO = 10
DEFAULT_SIDE = 224
"""Of the net's input, unless `salver train --image-size` says otherwise."""
FEWEST_IMAGES = 3
"""For training, validation and test one each."""


@dataclass(frozen=True)
class Item:
    """One case of a finding: the images that it is about, and what there is to say."""

    images: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """`problem`: training on this fails or gives figures that are wrong; otherwise it is a thing to know."""

    kind: str
    problem: bool
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Inspected:
    """The images that training would use, each with its inspection at the same index."""

    images: Sequence[LabelledImage]
    inspections: Sequence[Inspection]

    def __iter__(self) -> Iterator[tuple[LabelledImage, Inspection]]:
        return zip(self.images, self.inspections, strict=True)

    @cached_property
    def near(self) -> list[tuple[int, int]]:
        """As `near_pairs` gives them."""
        return near_pairs(self.inspections)

    def readable(self) -> "Inspected":
        """Without those that cannot be decoded."""
        pairs = [(image, found) for image, found in self if not found.problem]
        return Inspected([image for image, _ in pairs], [found for _, found in pairs])


def find_all(collection: Collection, inspected: Inspected, other: Inspected | None) -> tuple[Finding, ...]:
    """Everything there is to say about a folder, problems first; kinds without a case are left out."""
    readable = inspected.readable()
    found = [
        Finding("unreadable", True, tuple(_unreadable(inspected))),
        Finding("labels", True, tuple(_labels(collection))),
        Finding("labels alike", True, tuple(_alike(collection))),
        *_copies(readable),
        Finding("in two parts", True, tuple(_in_two_parts(readable))),
        Finding("in both sets", True, tuple(_leaks(readable, other.readable()) if other else ())),
        Finding("imbalance", False, tuple(_imbalance(collection))),
        Finding("tiny", False, tuple(_tiny(readable))),
        Finding("smaller than the net's input", False, tuple(_small(readable))),
        Finding("extreme shape", False, tuple(_extreme(readable))),
        Finding("colour mode", False, tuple(_modes(readable))),
        Finding("turned by EXIF", False, tuple(_turned(readable))),
        Finding("unlabelled", False, tuple(Item((image.name,)) for image in collection.unlabelled)),
        Finding("left out", False, tuple(Item((out.image.name,), out.reason) for out in collection.left_out)),
        Finding("annotated, not there", False, tuple(Item((name,)) for name in collection.stale)),
        Finding(
            "ignored",
            False,
            tuple(Item((printable(path.relative_to(collection.root)),)) for path in collection.ignored),
        ),
    ]
    return tuple(sorted((finding for finding in found if finding.items), key=lambda finding: not finding.problem))


def _unreadable(inspected: Inspected) -> Iterator[Item]:
    for image, found in inspected:
        if found.problem:
            yield Item((image.name,), found.problem)


def _labels(collection: Collection) -> Iterator[Item]:
    counts = Counter(image.label for image in collection.images)
    labels = {*collection.folder_labels, *counts}
    placed = {(image.label, image.part) for image in collection.images}
    if len(labels) < 2:
        there = f"there is {counted(len(labels), 'label')}" if labels else "there are no labels"
        yield Item((), collection.advice() or f"{there}; training needs at least 2")
    for label in sorted(labels):
        if counts[label] < FEWEST_IMAGES:
            yield Item(
                (), f"'{label}' has {counted(counts[label], 'image')}; training, validation and test need one each"
            )
        elif collection.parts and (label, "train") not in placed:
            yield Item((), f"'{label}' has no image in the training part, so no net can learn it")


def _alike(collection: Collection) -> Iterator[Item]:
    for group in alike({*collection.folder_labels, *(image.label for image in collection.images)}):
        yield Item((), f"{described(group)}: {difference(group)}")


def _copies(inspected: Inspected) -> Iterator[Finding]:
    """Equal files, then files that look the same; each kind apart by whether the labels agree."""
    same = identical(inspected.inspections)
    # Joined, so that ten sizes of one picture are one case; a group of equal files alone was said already.
    near = joined(len(inspected.images), inspected.near)
    for kind, groups in (("identical", same), ("near duplicates", [group for group in near if len(group) > 1])):
        images = [[inspected.images[index] for index in group] for group in groups]
        clashes = [group for group in images if len(_labels_of(group)) > 1]
        agreed = [group for group in images if len(_labels_of(group)) < 2]
        yield Finding(f"{kind}, two labels", True, tuple(map(_group, clashes)))
        yield Finding(kind, False, tuple(map(_group, agreed)))


def _group(images: Iterable[LabelledImage]) -> Item:
    images = list(images)
    labels = _labels_of(images)
    return Item(tuple(image.name for image in images), " / ".join(labels) if len(labels) > 1 else "")


def _labels_of(images: Iterable[LabelledImage]) -> list[str]:
    """Without the empty one of those that have none yet."""
    return sorted({image.label for image in images if image.label})


def _in_two_parts(inspected: Inspected) -> Iterator[Item]:
    """Groups of equal or nearly equal images that folders put into more than one part: figures are too good."""
    pairs = [(group[0], member) for group in identical(inspected.inspections) for member in group[1:]]
    for group in joined(len(inspected.images), [*pairs, *inspected.near]):
        images = [inspected.images[index] for index in group]
        parts = sorted({image.part for image in images if image.part})
        if len(parts) > 1:
            yield Item(tuple(image.name for image in images), " / ".join(parts))


def _leaks(inspected: Inspected, other: Inspected) -> Iterator[Item]:
    """Pairs across the two sets; an image of the one that has ten copies in the other is one case."""
    both = [*inspected.inspections, *other.inspections]
    count = len(inspected.images)
    equal = [(group[0], member) for group in identical(both) for member in group[1:]]
    for group in joined(len(both), [*equal, *near_pairs(both)]):
        ours = [inspected.images[index].name for index in group if index < count]
        theirs = [str(other.images[index - count].path) for index in group if index >= count]
        if ours and theirs:
            same = {both[index].sha256 for index in group if index < count} & {
                both[index].sha256 for index in group if index >= count
            }
            yield Item((*ours, *theirs), "identical" if same else "near duplicates")


def _imbalance(collection: Collection) -> Iterator[Item]:
    counts = Counter(image.label for image in collection.images).most_common()
    if counts and counts[0][1] > IMBALANCE_RATIO * counts[-1][1]:
        (most, largest), (least, smallest) = counts[0], counts[-1]
        yield Item((), f"'{most}' has {counted(largest, 'image')}, '{least}' has {smallest}")


def _tiny(inspected: Inspected) -> Iterator[Item]:
    for image, found in inspected:
        if min(found.upright_size) < TINY_SIDE:
            yield Item((image.name,), _size(found))


def _small(inspected: Inspected) -> Iterator[Item]:
    """One case with all of them, since there may be many."""
    names = _smaller(inspected, (DEFAULT_SIDE, DEFAULT_SIDE))
    if names:
        yield Item(
            tuple(names),
            f"{counted(len(names), 'image')} under {DEFAULT_SIDE} x {DEFAULT_SIDE} pixels, the usual input",
        )


def smaller(inspected: Inspected, image_size: tuple[int, int]) -> str:
    """What to say of the images that are smaller than a net's height and width; empty when none are."""
    names = _smaller(inspected, image_size)
    if not names:
        return ""
    shown = ", ".join(f"{printable(name)} ({size})" for name, size in list(names.items())[:3])
    verb, more = ("is", "") if len(names) == 1 else ("are", ", …" if len(names) > 3 else "")
    height, width = image_size
    return (
        f"{len(names)} of {counted(len(inspected.images), 'image')} {verb} smaller than the net's input of {width} x "
        f"{height} pixels and will be enlarged: {shown}{more}"
    )


def _smaller(inspected: Inspected, image_size: tuple[int, int]) -> dict[str, str]:
    """The size in words by name."""
    height, width = image_size
    return {
        image.name: _size(found)
        for image, found in inspected
        if found.upright_size[0] < width or found.upright_size[1] < height
    }


def _extreme(inspected: Inspected) -> Iterator[Item]:
    for image, found in inspected:
        if max(found.upright_size) > EXTREME_RATIO * min(found.upright_size):
            yield Item((image.name,), _size(found))


def _modes(inspected: Inspected) -> Iterator[Item]:
    """One case a mode; 8-bit RGB is what nets are trained on and is not listed."""
    modes: dict[str, list[str]] = defaultdict(list)
    for image, found in inspected:
        if found.mode != "RGB":
            modes[found.mode].append(image.name)
    for mode, names in sorted(modes.items()):
        yield Item(tuple(names), f"{mode}: {len(names)}")


def _turned(inspected: Inspected) -> Iterator[Item]:
    for image, found in inspected:
        if found.orientation != 1:
            yield Item((image.name,), f"orientation {found.orientation}")


def _size(found: Inspection) -> str:
    width, height = found.upright_size
    return f"{width} x {height}"
