"""Looks at the world: what a retry sends again, or a camera sends of a scene that stands still, is counted once."""

from collections import deque
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROWS: Final = 28
"""So many of the input's rows are looked at: all of 224 would cost eight times as much and say the same."""
CELLS: Final = (7, 8)
NEAR: Final = 3.0
"""Two pictures are one look when their cells differ by no more, in grey levels (root mean square).

Measured on the photos of docs/drift.md: the same picture saved anew as JPEG of quality 50 differs by up to 2.1, with a
camera's noise (8 levels) by up to 3.4, and the two most similar different ones by 3.3."""
RECENT: Final = 64
"""So many looks before it a picture is compared with."""
REMEMBERED: Final = 4096
"""So many looks before it would be told if exactly the same came again."""


class Picture(NamedTuple):
    """What is seen of the model's input for an image: see `EDGES` for the units, and float32 [7 x 8] mean green."""

    brightness: float
    sharpness: float
    cells: NDArray[np.float32]


def picture_of(pixels: NDArray[np.uint8]) -> Picture:
    """Of uint8 pixels [height, width, 3]. Takes 14 µs of a core for 224 x 224."""
    step = max(1, len(pixels) // ROWS)
    green = pixels[step // 2 :: step, :, 1].astype(np.float32)
    rows, columns = green.shape
    cells = _means(CELLS[0], rows) @ (green @ _means(CELLS[1], columns).T)
    steps = green[:, 1:] - green[:, :-1]
    np.abs(steps, out=steps)
    brightness, sharpness = (
        np.add.reduce(green, axis=None),
        np.add.reduce(steps, axis=None),
    )
    return Picture(float(brightness) / green.size, float(sharpness) / max(1, steps.size), cells.ravel())


@lru_cache(maxsize=16)
def _means(parts: int, length: int) -> NDArray[np.float32]:
    """[parts, length]: times a vector of that length, it gives the means of so many equal parts."""
    of_each = np.arange(length) * parts // length
    chosen = np.equal(of_each[None, :], np.arange(parts)[:, None])
    means: NDArray[np.float32] = (chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    return means


class Looks:
    """The looks of late. A picture is a new one unless it is the same as one of the last 4,096, or nearly the same as
    one of the last 64. Only looks are remembered, so that a scene that changes slowly is a new look now and then.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._recent = np.full((RECENT, CELLS[0] * CELLS[1]), np.inf, np.float32)
        self._next = 0
        self._known: set[bytes] = set()
        self._order: deque[bytes] = deque()

    def is_new(self, cells: NDArray[np.float32]) -> bool:
        """Whether it is one, which is then remembered."""
        key = cells.tobytes()
        if key in self._known:
            return False
        away = self._recent - cells
        if float(np.einsum("ij,ij->i", away, away).min()) <= NEAR**2 * cells.size:
            return False
        self._recent[self._next] = cells
        self._next = (self._next + 1) % RECENT
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > REMEMBERED:
            self._known.remove(self._order.popleft())
        return True
