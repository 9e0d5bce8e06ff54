"""How a data set falls into parts: by share of each label, with whatever belongs together on one side."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from training.dataset.image import LabelledImage
from training.dataset.inspection.duplicates import identical, joined, near_pairs
from training.dataset.inspection.files import inspect_files
from training.dataset.split.exchange import evened, kind_of
from training.errors import DatasetError

Stratum = tuple[str, ...]
"""The labels of a group, in class order; most groups are one image and have one."""


Grouping = Mapping[str, str] | Callable[[LabelledImage], str]
"""The group of each image, by its name or by a function; an empty one, or none, means that it stands alone."""


@dataclass(frozen=True)
class Group:
    """Images that must not be separated, and their place in the order of choice."""

    images: tuple[LabelledImage, ...]
    rank: bytes
    labels: Stratum


def copies(images: Sequence[LabelledImage]) -> list[tuple[int, int]]:
    """Pairs of indices, smaller first, that link those of the same picture: identical files, and look-alikes."""
    inspections = inspect_files([image.path for image in images])
    links = [(group[0], other) for group in identical(inspections) for other in group[1:]]
    return [*links, *near_pairs(inspections)]


def together(images: Sequence[LabelledImage], groups: Grouping | None) -> list[list[LabelledImage]]:
    """Images that must not be separated. Raises DatasetError for one that cannot be read."""
    links = copies(images)
    links += _same_name([image.source or image.name for image in images])
    if groups is not None:
        names = groups if isinstance(groups, Mapping) else {image.name: groups(image) for image in images}
        links += _same_name([names.get(image.name, "") for image in images])
    return [[images[index] for index in group] for group in joined(len(images), links)]


def ranked(groups: Sequence[Sequence[LabelledImage]], labels: Sequence[str], seed: int) -> list[Group]:
    """In the order of choice: by a hash over seed and content, so neither file names nor the machine play a part."""
    return sorted((_group(images, labels, seed) for images in groups), key=lambda group: group.rank)


def choose(
    groups: Sequence[Group], labels: Sequence[str], share: Fraction, *, stratify: bool, parts_of_first: int = 1
) -> set[LabelledImage]:
    """The images of the first part: `share` of all, rounded down, as near to it as groups allow.

    With `stratify` each label has that share, by largest remainder; `parts_of_first` of its groups come into the first
    part at least and one into the second, and DatasetError names a label that has too few groups for that. Without,
    only the first part needs every label. Groups are taken in their order; where they then miss the share, as large
    ones do, some change sides.
    """
    if stratify:
        _check_labels(groups, labels, parts_of_first + 1)
    strata: dict[Stratum, list[Group]] = defaultdict(list)
    for group in groups:
        strata[group.labels if stratify else ()].append(group)
    sizes = {name: sum(len(group.images) for group in members) for name, members in strata.items()}
    quotas = _largest_remainder(sizes, share)
    filled = {image for name, members in strata.items() for image in _fill(members, quotas[name], parts_of_first)}
    taken = evened(
        [kind_of(image.label for image in group.images) for group in groups],
        [group.images[0] in filled for group in groups],
        [quotas[name] / sizes[name] for name in (group.labels if stratify else () for group in groups)],
        stratify=stratify,
        least_first=parts_of_first if stratify else 1,
        least_second=1 if stratify else 0,
    )
    chosen = {image for group, first in zip(groups, taken, strict=True) if first for image in group.images}
    images = {image for group in groups for image in group.images}
    _check_part(labels, chosen, images)
    if stratify:
        _check_part(labels, images - chosen, images)
    return chosen


def _group(images: Sequence[LabelledImage], labels: Sequence[str], seed: int) -> Group:
    rank = min(hashlib.sha256(f"{seed} {image.sha256}".encode()).digest() for image in images)
    own = {image.label for image in images}
    return Group(tuple(images), rank, tuple(label for label in labels if label in own))


def _check_labels(groups: Sequence[Group], labels: Sequence[str], parts: int) -> None:
    numbers = Counter(label for group in groups for label in group.labels)
    for label in labels:
        if (own := numbers[label]) < parts:
            images = sum(image.label == label for group in groups for image in group.images)
            together = f", which count as {own} because some belong together" if images > own else ""
            raise DatasetError(
                f"Too few images for {parts} parts: '{label}' has {images}{together}. Copies, near duplicates and "
                "members of a group stay in one part. Add images or remove the label."
            )


def _check_part(labels: Sequence[str], part: set[LabelledImage], images: set[LabelledImage]) -> None:
    present = {image.label for image in part}
    for label in labels:
        if label not in present:
            count = sum(image.label == label for image in images)
            raise DatasetError(
                f"One part would have no image of '{label}', of which there are {count}: too many of them belong "
                "together, the part is too small, or labels are not divided evenly (stratify). Change the groups or "
                "the shares."
            )


def _largest_remainder(sizes: dict[Stratum, int], share: Fraction) -> dict[Stratum, int]:
    """Whole numbers near `share` of each size whose sum is `share` of all, rounded down."""
    quotas = {name: int(share * size) for name, size in sizes.items()}
    left = int(share * sum(sizes.values())) - sum(quotas.values())
    by_remainder = sorted(sizes, key=lambda name: (quotas[name] - share * sizes[name], len(name)))
    return {name: quotas[name] + (name in by_remainder[:left]) for name in sizes}


def _fill(groups: Sequence[Group], quota: int, at_least: int) -> list[LabelledImage]:
    """Whole groups up to `quota` images: the first `at_least` anyway, and never the last."""
    taken = [image for group in groups[:at_least] for image in group.images]
    for group in groups[at_least:-1]:
        if len(taken) + len(group.images) <= quota:
            taken += group.images
    return taken


def _same_name(names: list[str]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    return [(first.setdefault(name, index), index) for index, name in enumerate(names) if name]
