"""The numbers that settings can be: each range once, for commands and for Python alike."""

import numbers
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from salver.artifact.manifest import OUTPUT_NAMES, OutputName
from training.errors import SettingError

Number = TypeVar("Number", int, float)


class Range(NamedTuple):
    """From `low` to `high`, both included; with two ints as ends, whole numbers only."""

    what: str
    low: float
    high: float

    def check(self, value: Number, of: str = "") -> Number:
        """The value as it is; `of` names whose it is. Raises SettingError that says what can be given, for NaN too."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        if (whole and not isinstance(value, numbers.Integral)) or not self.low <= value <= self.high:
            raise SettingError(
                f"The {self.what}{of and f' of {of}'} is {value}: give a {'whole ' if whole else ''}number from "
                f"{self.low:.12g} to {self.high:.12g}."
            )
        return value


SEED = Range("seed", 0, 2**32 - 1)
"""What numpy, scikit-learn and torch all take."""
OUTER_FOLDS = Range("number of folds", 2, 1_000)
COUNT = Range("number of pictures of a label", 1, 100_000)
NEAREST = Range("number of nearest photos", 1, 100_000)
EPOCHS = Range("number of epochs", 1, 100_000)
BATCH_SIZE = Range("minibatch size", 2, 65_536)
"""Batch normalisation needs two images."""
LEARNING_RATE = Range("learning rate", 1e-12, 100.0)
BACKBONE_RATE = Range("recipe's backbone rate", 0.0, 100.0)
WEIGHT_DECAY = Range("weight decay", 0.0, 100.0)
MOMENTUM = Range("momentum", 0.0, 0.9999)
SMOOTHING = Range("label smoothing", 0.0, 0.9999)
AVERAGE = Range("recipe's average", 0.0, 0.9999)
SVM_C = Range("C of the support vector machine", 1e-6, 1e6)
CLASS_WEIGHT = Range("class weight", 1e-6, 1e6)
THRESHOLD = Range("threshold", 0.0, 1.0)
FALSE_ALARMS = Range("share of false alarms", 1e-6, 0.5)
ACCURACY_LOSS = Range("accuracy that may be lost", -1.0, 1.0)
"""Below 0: that has to be gained."""
SECONDS = Range("time for one image in seconds", 0.1, 86_400.0)
CONNECTIONS = Range("number of connections", 1, 64)
FILE_BYTES = Range("most bytes of an image file", 1, 2**31)


def check_names(what: str, named: Iterable[str], labels: Iterable[str]) -> None:
    """Raises SettingError for a name that is none of the labels."""
    known = list(labels)
    for name in named:
        if name not in known:
            shown = ", ".join(known[:30]) + (", …" if len(known) > 30 else "")
            raise SettingError(f"There is no label '{name}' that could have a {what}. The labels are: {shown}.")


def check_outputs(names: Iterable[str]) -> tuple[OutputName, ...]:
    """Those outputs of a model file in the order that they have there; logits always stand among them.

    Raises SettingError for a name that is none of theirs.
    """
    asked = list(names)
    for name in asked:
        if name not in OUTPUT_NAMES:
            raise SettingError(f"There is no output '{name}'. The outputs are: {', '.join(OUTPUT_NAMES)}.")
    return tuple(name for name in OUTPUT_NAMES if name in ("logits", *asked))


def check_shares(*, val_size: float | None = None, **shares: float) -> None:
    """Of a data set. Raises SettingError unless each is more than 0 (`val_size`, where it is given, may be 0) and
    together they are less than 1.
    """
    given = shares if val_size is None else shares | {"val_size": val_size}
    if not (all(share > 0 for share in shares.values()) and not (val_size or 0) < 0 and sum(given.values()) < 1):
        told = " and ".join(f"a {name} of {share}" for name, share in given.items())
        wanted = "each share is more than 0, and together they are" if len(given) > 1 else "a share is more than 0 and"
        raise SettingError(f"{told[0].upper()}{told[1:]} cannot be kept: {wanted} less than 1, such as 0.3.")
