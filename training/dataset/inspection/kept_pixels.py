"""Pixels that were decoded once, kept in memory: training, the gate, the reference and the report need the same ones.

Only as many as fit, so that memory stays flat whatever the size of the set: what comes later is decoded anew.
"""

import threading
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import Header
from training.dataset.inspection.files import Stamp

KEPT_BYTES = 256 * 2**20
"""1,700 images of 224 x 224."""

Opened = tuple[NDArray[np.uint8], Header]
Key = tuple[Path, Stamp, PixelSpec]


class KeptPixels:
    """By file, as it was when it was decoded, and spec. Any thread may get and put."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._free = most_bytes
        self._kept: dict[Key, Opened] = {}
        self._lock = threading.Lock()

    def get(self, key: Key) -> Opened | None:
        """A copy of the pixels, and what the file says of itself."""
        found = self._kept.get(key)
        return found and (found[0].copy(), found[1])

    def put(self, key: Key, opened: Opened) -> None:
        """Keep a copy, if there is room for it."""
        with self._lock:
            if key in self._kept or opened[0].nbytes > self._free:
                return
            self._free -= opened[0].nbytes
            self._kept[key] = opened[0].copy(), opened[1]


@cache
def kept_pixels() -> KeptPixels:
    """Those of this process."""
    return KeptPixels()
