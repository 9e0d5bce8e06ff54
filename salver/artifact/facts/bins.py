"""The facts of one scored image and the bins that they are counted in: for training, the service and `salver drift`."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

SIDES: Final = tuple(
    float(side) for side in (1, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
)
EDGES: Final[dict[str, tuple[float, ...]]] = {
    "familiarity": (-1.0, *(step / 20 for step in range(20))),
    "probability": (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999),
    "width": SIDES,
    "height": SIDES,
    "brightness": tuple(float(step) for step in range(0, 256, 16)),
    "sharpness": (0.0, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 23.0, 32.0, 45.0, 64.0),
}
"""Of each fact that is a number, where its bins begin; the last one has no end.

familiarity       the model's output, from -1 to 1; what is no number is in the lowest bin
probability       the largest one, after the temperature
width, height     of the upright image, in pixels
brightness        mean of the green channel over the model's input, 0 to 255
sharpness         mean difference of neighbouring pixels in a row of it, 0 to 255
"""
_FORMS: Final = {
    "familiarity": ".2f",
    "probability": ".4f",
    "width": "04.0f",
    "height": "04.0f",
    "brightness": "03.0f",
    "sharpness": "05.2f",
}
CATEGORIES: Final = ("foreign", "label", "mode")
"""The facts that are names. foreign: "yes" below the model's threshold of familiarity. label: the best one. mode:
Pillow's, of the file."""
FACTS: Final = (*EDGES, *CATEGORIES)
MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"})
OTHER: Final = "other"
"""The bin of the modes that are not in `MODES`, and of the labels after the first `MOST_LABELS`."""
MOST_LABELS: Final = 100


def number_bin(fact: str, value: float) -> str:
    """The bin of a number, by where it begins."""
    edges = EDGES[fact]
    place = bisect_right(edges, value) - 1 if value >= edges[0] else 0  # not a number: the lowest
    return _name(fact, edges[place])


def mode_bin(mode: str) -> str:
    """The bin of a file's mode."""
    return mode if mode in MODES else OTHER


def label_bins(labels: Sequence[str]) -> tuple[str, ...]:
    """The bin of each label of a model."""
    return tuple(label if place < MOST_LABELS else OTHER for place, label in enumerate(labels))


def bins_of(fact: str, labels: Sequence[str]) -> tuple[str, ...]:
    """All bins of a fact, those of numbers in their order. Raises KeyError for a fact that is none."""
    names = {
        "foreign": ("no", "yes"),
        "label": tuple(dict.fromkeys(label_bins(labels))),
        "mode": (*sorted(MODES), OTHER),
    }
    return names[fact] if fact in names else tuple(_name(fact, edge) for edge in EDGES[fact])


def _name(fact: str, edge: float) -> str:
    """In as many digits for every bin, so that their order as text is that of the numbers."""
    return format(edge, _FORMS[fact])
