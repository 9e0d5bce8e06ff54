"""Which folders are labels: those of the first level or, where these are the parts of a split, the ones below them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal, get_args

from salver.text import counted, printable
from training.dataset.reading.alike import folded
from training.errors import DatasetError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
_NAMES: Mapping[str, Part] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_FILLERS = frozenset(["", "data", "dataset", "images", "photos", "set", "split"])
_USE: Mapping[Part, str] = {"train": "training", "validation": "validation", "test": "the test at the end"}
_OPTION: Mapping[Part, str] = {"train": "", "validation": "--val-size", "test": "--test-size"}


@dataclass
class _Contents:
    """Of a first-level folder: how many images lie in it directly, and in each of its sub-folders."""

    direct: int = 0
    below: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def nested(self) -> bool:
        """Whether most of its images lie in sub-folders."""
        return sum(self.below.values()) > self.direct


def part_named(folder: str) -> Part | None:
    """The part that a folder is named like, such as `Training_set`; None for any other name."""
    return _NAMES.get("".join(_words(folder)).removesuffix("set"))


def _words(folder: str) -> list[str]:
    return [word for word in re.split("[^a-z]+", folder.casefold()) if word not in _FILLERS]


def _named(folders: Iterable[str]) -> dict[str, Part]:
    """By folder the part that it is named like: `train`, or `seg_train` when another is called `seg_test`."""
    found: defaultdict[tuple[str, ...], dict[str, Part]] = defaultdict(dict)
    for folder in folders:
        words = _words(folder)
        parts = [word for word in words if word in _NAMES]
        if (part := part_named(folder)) is not None:
            found[()][folder] = part
        elif len(parts) == 1:
            found[tuple(word for word in words if word not in _NAMES)][folder] = _NAMES[parts[0]]
    return max(found.values(), key=lambda group: len(set(group.values())), default={})


def part_folders(names: Iterable[str]) -> dict[str, Part]:
    """The first-level folders that are parts of a split, by the names of all images; none where they are labels.

    They are parts when at least two are named like parts and hold equal sub-folders. Raises DatasetError when some must
    be parts and others can be neither part nor label.
    """
    contents = _contents(names)
    named = _named(contents)
    nested = [folder for folder in named if contents[folder].nested]
    sharing = [folder for folder in nested if any(_share(contents, folder, other) for other in nested)]
    if len(sharing) < 2:
        _refuse_unsorted_part(contents, named)
        return {}
    strangers = [folder for folder in contents if folder not in named or not contents[folder].nested]
    if strangers:
        raise DatasetError(
            f"The folders {_quoted(sharing)} hold the same sub-folders, so they are parts of a split and not labels, "
            f"but {_quoted(strangers)} beside them {'is' if len(strangers) == 1 else 'are'} neither. Name the parts "
            "train, val and test, with one folder for each label in them, and move everything else out."
        )
    for part in PARTS:
        twins = [folder for folder in nested if named[folder] == part]
        if len(twins) > 1:
            raise DatasetError(
                f"The folders {_quoted(twins)} are both named like the {part} part. Put their images into one of them."
            )
    return {folder: named[folder] for folder in nested}


def layout_notes(parts: Mapping[str, Part], names: Iterable[str]) -> tuple[str, ...]:
    """What to say of that: sentences for a person."""
    if parts:
        uses = ", ".join(f"{printable(folder)} for {_USE[part]}" for folder, part in parts.items())
        train = next((folder for folder, part in parts.items() if part == "train"), None)
        missing = [part for part in PARTS if part not in parts.values()]
        lines = [f"the folders are parts of a split: {uses}; the labels are the folders in them"]
        if train is not None:
            lines += [
                f"no folder is the {part} part: training takes it out of {printable(train)} ({_OPTION[part]})"
                for part in missing
            ]
        return tuple(lines)
    contents = _contents(names)
    named = [folder for folder in contents if part_named(folder)]
    if len(named) > 1 and len(named) == len(contents):
        return (
            f"the labels are {_quoted(named)}, which are names of parts: when they are parts, put one folder for each "
            "label into each of them",
        )
    return tuple(_shared_folders(contents))


def _shared_folders(contents: Mapping[str, _Contents]) -> Iterator[str]:
    """Labels that hold folders of the same names: these may be the labels that a person means."""
    nested = {folder: set(found.below) for folder, found in contents.items() if found.nested}
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for folder, below in nested.items():
        for name in below:
            holders[folded(name)].append(folder)
    shared = {name: folders for name, folders in holders.items() if len(folders) > 1}
    if len(shared) < 2 and not (shared and any(map(part_named, nested))):
        return
    folders = sorted({folder for found in shared.values() for folder in found})
    inside = sorted(name for name in {*nested[folders[0]], *nested[folders[1]]} if folded(name) in shared)
    who = "each label holds" if len(folders) == len(contents) else f"the labels {_quoted(folders)} hold"
    split = ", and no parts of a split" if all(map(part_named, inside)) else ""
    what = "the folder" if len(inside) == 1 else "the folders"
    yield f"{who} {what} {', '.join(map(printable, inside))}: these are no labels{split}"


def inner_labels(names: Iterable[str]) -> tuple[str, list[str]] | None:
    """The folder that holds all images, and the folders in it that look like the labels; None without such a one."""
    places = [name.split("/")[:-1] for name in names]
    common = [step[0] for step in takewhile(lambda step: len(set(step)) == 1, zip(*places, strict=False))]
    inside = sorted({"/".join(place[len(common) : len(common) + 1]) for place in places})
    return ("/".join(common), inside) if common and len(inside) > 1 and inside[0] else None


def labels_in_names(files: Iterable[str]) -> list[str]:
    """What the names of images in one flat folder begin with, where that looks like labels: `cup_001.jpg`."""
    counts: defaultdict[str, int] = defaultdict(int)
    for name in files:
        found = re.fullmatch(r"(.*?[^\W\d_].*?)[\W_]*\d+\W*", name.rpartition(".")[0])
        counts[found[1] if found else ""] += 1
    return sorted(counts) if len(counts) > 1 and min(counts.values()) > 1 and "" not in counts else []


def _contents(names: Iterable[str]) -> dict[str, _Contents]:
    contents: defaultdict[str, _Contents] = defaultdict(_Contents)
    for name in names:
        folder, *inner = name.split("/")
        if len(inner) == 1:
            contents[folder].direct += 1
        elif inner:
            contents[folder].below[inner[0]] += 1
    return dict(sorted(contents.items()))


def _share(contents: Mapping[str, _Contents], one: str, other: str) -> bool:
    """Whether they hold a folder of the same name; `train/Cup` and `test/cup` are parts, and a label too many."""
    ours, theirs = (set(map(folded, contents[folder].below)) for folder in (one, other))
    return one != other and not ours.isdisjoint(theirs)


def _refuse_unsorted_part(contents: Mapping[str, _Contents], named: Mapping[str, Part]) -> None:
    """`train` with a folder for each label beside a `test` of loose images can be meant as labels by nobody."""
    sorted_ones = [folder for folder in named if contents[folder].nested and len(contents[folder].below) > 1]
    loose = [folder for folder in named if not contents[folder].below]
    if len(named) < len(contents) or not loose or [named[folder] for folder in sorted_ones] != ["train"]:
        return
    count = sum(contents[folder].direct for folder in loose)
    raise DatasetError(
        f"The folders {_quoted(named)} are named like parts of a split. '{printable(sorted_ones[0])}' holds one folder "
        f"for each label, but {_quoted(loose)} has {counted(count, 'image')} without labels. Put these into one folder "
        f"for each label, too, or name '{printable(sorted_ones[0])}' alone."
    )


def _quoted(folders: Iterable[str]) -> str:
    return ", ".join(f"'{printable(folder)}'" for folder in folders)
