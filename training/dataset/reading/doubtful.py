"""`doubtful.csv`: photos whose label the other photos contradict, as `salver check --labels` found them.

The annotation page shows them in this order, each with the label that is suggested. Nobody else reads the file: what
counts is what a person says there, in annotations.csv.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from salver.text import printable
from training.dataset.reading.folder import nfc
from training.dataset.reading.table import read_table, write_table
from training.errors import DatasetError

FILE_NAME = "doubtful.csv"
COLUMNS = ("path", "label", "suggested", "probability", "part")


@dataclass(frozen=True)
class Doubtful:
    """A photo's name, the label that it has, the one that is suggested, and its part of a split where one is known."""

    name: str
    label: str
    suggested: str
    probability: float
    """Of the label that it has, from 0 to 1, by what the photos of the other folds teach."""
    part: str = ""


@dataclass(frozen=True)
class LookAlike:
    """Two photos that look alike to the net though not by their hashes, each with its part where one is known."""

    names: tuple[str, str]
    cosine: float
    """Of their features: 1 for the same."""
    parts: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class LabelErrors:
    """What the photos say of one another's labels: those that are `doubtful`, the most doubtful first."""

    doubtful: tuple[Doubtful, ...]
    net: str
    """Whose features told it: the base and its weights."""
    judged: int
    """Photos of labels that are no part of `too_few`; `doubtful` are some of them."""
    too_few: dict[str, int]
    """Labels that cannot be told anything of, each with the number of its photos that are apart from one another."""
    least: int
    """The number that a label needs."""
    margin: float
    """A label is doubtful when another one's probability is higher by more than that."""
    never_judged: tuple[str, ...] = ()
    """Names of photos without a judgement: the only ones of their label, all of which belong together, or those whose
    features are zero or no numbers."""
    unreadable: tuple[str, ...] = ()
    """Names of photos that were left out."""
    look_alikes: tuple[LookAlike, ...] = ()
    """The nearest first; of copies, which a split keeps together, one stands for all."""


def read_doubtful(root: Path) -> tuple[Doubtful, ...]:
    """In the order of the file; empty without one. Raises DatasetError for a file that is no such table."""
    path = root / FILE_NAME
    if not path.exists():
        return ()
    found = []
    for line, row in read_table(path, COLUMNS):
        try:
            probability = float(row["probability"])
        except ValueError:
            probability = -1
        if not 0 <= probability <= 1 or printable(row["suggested"]) != row["suggested"]:
            raise DatasetError(
                f"{path}, line {line} is damaged. Write it anew with salver check --labels, or remove it."
            )
        found.append(Doubtful(nfc(row["path"]), row["label"], row["suggested"], probability, row["part"]))
    return tuple(found)


def write_doubtful(root: Path, found: Iterable[Doubtful]) -> Path:
    """In their order, in place of an earlier list; gives the file. Raises OSError."""
    rows = ((one.name, one.label, one.suggested, format(one.probability, ".4g"), one.part) for one in found)
    write_table(root / FILE_NAME, COLUMNS, rows)
    return root / FILE_NAME
