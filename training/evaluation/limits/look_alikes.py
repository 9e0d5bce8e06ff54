"""Which photos look alike to a net, beyond what their hashes show: turned a little, moved, cropped, of one series."""

from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

LEAST_COSINE = 0.9
"""Of a net's features of two photos. Below it MobileNetV2's are of one kind of thing, before one wall."""
NEIGHBOURS = 4
NEARER = 0.6
"""Of the distance to the fourth neighbour of either: a copy stands out. By the cosine alone 94 of the 1,275 pairs of 51
fruits before one wall are found, by both 19: 13 mirrored photos, and six of what may be one fruit. Beside these, 2 of
the 8,911 pairs of 134 photos in a fridge and 10 of 26,796 of 232 drawings, each the same thing again, and none of the
12,720 of 160 rendered pictures. Found of the 51, 134, 232 and 160 made copies, among their originals: turned by 5
degrees all; by 10 100, 94, 95 and 99 %; by 15 80, 57, 59 and 87 %; cropped to 90 % at a corner 73, 99, 99 and 97 %; to
80 % 35, 87, 87 and 82 %. All by MobileNetV2 with offline weights."""


class Pair(NamedTuple):
    """Two places, smaller first, and the cosine of what lies there."""

    one: int
    other: int
    cosine: float


def look_alikes(features: NDArray[np.float32]) -> list[Pair]:
    """Of features [photos, width], the nearest first. Those that are zero or no numbers are like none."""
    lengths = np.linalg.norm(features, axis=1)
    rows = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    if len(rows) < 2:
        return []
    unit = np.ascontiguousarray(features[rows] / lengths[rows, None], dtype=np.float32)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    cosines, others = index.search(unit, min(NEIGHBOURS + 1, len(rows)))
    own = others == np.arange(len(rows))[:, None]
    apart = np.where(own, np.inf, 1 - cosines)
    # The photo itself is no neighbour. Where five equal ones hide it, the fifth of them takes its place.
    fourth = np.sort(apart, axis=1)[:, : cosines.shape[1] - 1][:, -1]
    found = set()
    for place, place_of in zip(*np.nonzero(~own & (cosines >= LEAST_COSINE)), strict=True):
        other = int(others[place, place_of])
        if apart[place, place_of] <= NEARER * min(fourth[place], fourth[other]):
            one, two = sorted((int(rows[place]), int(rows[other])))
            found.add(Pair(one, two, round(float(min(cosines[place, place_of], 1.0)), 4)))
    return sorted(found, key=lambda pair: (-pair.cosine, pair.one, pair.other))
