"""The eight ways to turn and mirror a picture: four quarter turns, of the picture and of its mirror image."""

import numpy as np
from numpy.typing import NDArray

COUNT = 8


def turned(tiles: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Square tiles [tiles, side, side, colours], each in the way `number`; 0 leaves them as they are."""
    mirrored = tiles.transpose(0, 2, 1, 3) if number >= COUNT // 2 else tiles
    return np.rot90(mirrored, number % (COUNT // 2), axes=(1, 2))


def turned_spectra(spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """[8, side, side]: the cosine transforms [side, side] of the turned pictures, in the same order, from that of one.

    To mirror a picture changes the sign of every other frequency across it.
    """
    signs = np.where(np.arange(len(spectrum)) % 2, -1.0, 1.0)
    down, across = signs[:, None], signs[None, :]
    return np.stack(
        [
            turn * picture
            for one, other in ((spectrum, spectrum.T), (spectrum.T, spectrum))
            for turn, picture in ((np.ones((1, 1)), one), (down, other), (down * across, one), (across, other))
        ]
    )
