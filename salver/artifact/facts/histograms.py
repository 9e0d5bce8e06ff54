"""The facts of one model's images, counted in bins, each look at the world once."""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from salver.artifact.facts.bins import label_bins, mode_bin, number_bin
from salver.artifact.facts.looks import Looks, Picture, picture_of
from salver.artifact.manifest import Manifest
from salver.artifact.pixels import Header
from salver.artifact.scores import is_foreign, probabilities

Counts = dict[str, dict[str, int]]
"""By fact and bin. Those that no image fell into are left out, but for the share of foreign ones, which is watched."""


class Look(NamedTuple):
    """An image that shows something new, before the model has answered; `header` is None where there was no file."""

    picture: Picture
    header: Header | None


class Histograms:
    """Of one model version. Any thread may look and count."""

    def __init__(self, manifest: Manifest) -> None:
        self._labels = label_bins(manifest.labels)
        self._temperature = manifest.temperature
        self._threshold = manifest.familiarity.threshold if manifest.familiarity else None
        self._looks = Looks()
        self._counts: Counts = {} if self._threshold is None else {"foreign": {"no": 0, "yes": 0}}
        self._images = 0
        self._lock = threading.Lock()

    def look(self, pixels: NDArray[np.uint8], header: Header | None) -> Look | None:
        """What there is to count of the model's input, uint8 [height, width, 3]; None for what was seen of late."""
        picture = picture_of(pixels)
        with self._lock:
            return Look(picture, header) if self._looks.is_new(picture.cells) else None

    def count(self, look: Look, logits: NDArray[np.float32], familiarity: float | None) -> None:
        """Count it with the model's answer: finite logits [classes], and familiarity where the file gives it."""
        bins = [
            ("label", self._labels[int(logits.argmax())]),
            ("probability", number_bin("probability", float(probabilities(logits, self._temperature).max()))),
            ("brightness", number_bin("brightness", look.picture.brightness)),
            ("sharpness", number_bin("sharpness", look.picture.sharpness)),
        ]
        if familiarity is not None and self._threshold is not None:
            bins.append(("familiarity", number_bin("familiarity", familiarity)))
            bins.append(("foreign", "yes" if is_foreign(familiarity, self._threshold) else "no"))
        if look.header is not None:
            width, height = look.header.upright_size
            bins.append(("width", number_bin("width", width)))
            bins.append(("height", number_bin("height", height)))
            bins.append(("mode", mode_bin(look.header.mode)))
        with self._lock:
            self._images += 1
            for fact, name in bins:
                counts = self._counts.setdefault(fact, {})
                counts[name] = counts.get(name, 0) + 1

    @property
    def images(self) -> int:
        """Looks that were counted."""
        return self._images

    def counts(self) -> Counts:
        """As they are now."""
        with self._lock:
            return {fact: dict(bins) for fact, bins in self._counts.items()}
