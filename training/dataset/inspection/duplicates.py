"""Which images show the same picture: byte-identical files, and copies that were resized, encoded anew, mirrored,
turned by quarters, or changed in brightness or contrast.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from training.dataset.inspection.inspection import Inspection
from training.dataset.inspection.symmetries import COUNT, turned

HASH_DISTANCE = 11
"""Differing bits of 64. Copies at half to one and a half times the size, JPEG quality 50 to 80, of 577 photos and
drawings differed in 8 at most; smooth pictures with little to go by in up to 11. Turned by quarters or mirrored, and
turned back by `turned_spectra`, they differed in 10 at most."""
TILE_DISTANCE = 5.0
"""Levels, the mean over 8 x 8 colours. Those copies differed by 4.4 at most. Of 166,176 pairs of the 577 two are nearer
in both than this, and they are near duplicates indeed."""
SHADE_DISTANCE = 5.0
"""Levels, the same in any of the eight ways, once brightness and contrast are made equal and set to a deviation of 50.
Of the 166,176 pairs 18 are nearer than this: 13 mirrored photos, two redrawings and a photo taken twice, and two pairs
of oranges before one wall, which are no copies. (At 4 neither of those two, at 6 six.) None has two labels. Missed of
577 copies each: none at JPEG quality 60, half the size, mirrored left to right, turned by 90 degrees, at brightness x
0.7, contrast x 0.7 and x 1.3, or mirrored and x 0.7; 4 upside down, 12 turned by 180 degrees; 2 turned by 90, x 0.7 and
quality 60; at brightness x 1.3 64, of which 59 are drawings with much that this makes white, and 69 mirrored too."""
_BLACK, _WHITE = 5, 250
"""Levels: what is beyond may have been cut off."""
_ENOUGH = 0.25
"""Of the colours that lie between: with fewer, the line goes by all of them."""
_LIKENESS = 0.85
"""Correlation of the 8 x 8 in grey, below which shades are not compared, which costs ten times as much: all copies that
are found have .926 or more."""
_LEAST_CONTRAST = 8.0
"""Levels: noise in a pale picture is not to be enlarged further."""
FEW = 500_000
"""Up to here comparing each hash with each is faster: 17 s of CPU for 100,000, against 84 with tables. (The picture as
it is alone took 3.6 s, and 21 with tables.)"""
_TABLES, _FLIPS = 4, 2
_BLOCK = 4096


def near_pairs(inspections: Sequence[Inspection], few: int = FEW) -> list[tuple[int, int]]:
    """Pairs of indices, smaller first, of different files that look the same.

    Beyond `few` files, by multi-index hashing (M. Norouzi et al., "Fast Search in Hamming Space with Multi-Index
    Hashing", CVPR 2012), as faiss does it: two hashes that differ in at most 11 of 64 bits differ in at most 2 bits of
    one of their four quarters, so only images in neighbouring buckets of a quarter are compared. Copies with identical
    bytes are for `identical` to find: only the first of them is looked at here.
    """
    firsts = {found.sha256: index for index, found in reversed(list(enumerate(inspections))) if found.phash}
    rows = np.array(sorted(firsts.values()), dtype=np.int64)
    if len(rows) < 2:
        return []
    looks = b"".join(inspections[row].phash for row in rows)
    hashes = np.frombuffer(looks, dtype=np.uint8).reshape(len(rows), COUNT, 8)
    tiles = np.frombuffer(b"".join(inspections[row].tile for row in rows), dtype=np.uint8).reshape(len(rows), 8, 8, 3)
    index = _tables() if len(rows) > few else faiss.IndexBinaryFlat(64)
    return [(int(rows[one]), int(rows[two])) for one, two in _alike(index, hashes, tiles)]


def _tables() -> faiss.IndexBinary:
    index = faiss.IndexBinaryMultiHash(64, _TABLES, 64 // _TABLES)
    index.nflip = _FLIPS
    return index


def identical(inspections: Sequence[Inspection]) -> list[list[int]]:
    """Groups of at least two indices of byte-identical files, in order."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, found in enumerate(inspections):
        if found.sha256:
            groups[found.sha256].append(index)
    return [group for group in groups.values() if len(group) > 1]


def joined(count: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """`count` items, grouped so that linked ones are together: groups and their members in order, single ones too."""
    pairs = np.array(list(links), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    groups: dict[int, list[int]] = defaultdict(list)
    for index, component in enumerate(connected_components(graph, directed=False)[1].tolist()):
        groups[component].append(index)
    return list(groups.values())


def _alike(index: faiss.IndexBinary, hashes: NDArray[np.uint8], tiles: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Pairs of places in hashes [images, 8, 8] and tiles [images, 8, 8, 3], smaller first.

    Each image, in all eight ways, is compared with those before it as they are: that is every pair in every way.
    """
    patterns = _patterns(tiles)
    for start in range(0, len(hashes), _BLOCK):
        block = np.ascontiguousarray(hashes[start : start + _BLOCK].swapaxes(0, 1))
        index.add(block[0])
        found: set[tuple[int, int]] = set()
        for number, queries in enumerate(block):
            # faiss finds what is nearer than the radius.
            ends, _, others = index.range_search(queries, HASH_DISTANCE + 1)
            counts = ends[1:].astype(np.int64) - ends[:-1].astype(np.int64)
            places = start + np.repeat(np.arange(len(counts)), counts)
            earlier = others < places
            one, two = others[earlier], places[earlier]
            ours = _patterns(turned(tiles[start : start + _BLOCK], number))
            for few in range(0, len(one), _BLOCK):
                ones, twos = one[few : few + _BLOCK], two[few : few + _BLOCK]
                near = np.einsum("ij,ij->i", patterns[ones], ours[twos - start]) >= _LIKENESS
                near[near] = _same_shades(tiles[ones[near]], turned(tiles[twos[near]], number))
                if number == 0:
                    apart = np.abs(tiles[ones].astype(np.int16) - tiles[twos]).reshape(-1, 192)
                    near |= apart.mean(axis=1) <= TILE_DISTANCE
                found.update(zip(ones[near].tolist(), twos[near].tolist(), strict=True))
        yield from sorted(found)


def _patterns(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[images, 64], of tiles [images, 8, 8, 3]: grey, without their mean, of length 1, so that products correlate."""
    grey = tiles.mean(axis=3, dtype=np.float32).reshape(len(tiles), 64)
    grey -= grey.mean(axis=1, keepdims=True)
    grey /= np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)
    return np.asarray(grey, np.float32)


def _same_shades(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[pairs], of tiles [pairs, 8, 8, 3] each."""
    ours, theirs = (tiles.reshape(len(tiles), 192).astype(np.float32) for tiles in (one, two))
    return np.asarray(np.minimum(_unexplained(ours, theirs), _unexplained(theirs, ours)) <= SHADE_DISTANCE)


def _unexplained(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float32]:
    """[pairs]: how far `two` is from the straight line that maps `one` to it best, in levels at a deviation of 50.

    What was made brighter ends at white and what was made darker at black: the line is fitted to what lies between in
    both, and cut off at both ends.
    """
    between = (np.minimum(one, two) > _BLACK) & (np.maximum(one, two) < _WHITE)
    between |= between.mean(axis=1, keepdims=True) < _ENOUGH
    weights = between / between.sum(axis=1, keepdims=True)
    middle_one, middle_two = ((weights * tiles).sum(axis=1, keepdims=True) for tiles in (one, two))
    spread = (weights * (one - middle_one) ** 2).sum(axis=1, keepdims=True)
    slope = (weights * (one - middle_one) * (two - middle_two)).sum(axis=1, keepdims=True) / np.maximum(spread, 1.0)
    guess = np.clip(slope * (one - middle_one) + middle_two, 0, 255)
    contrast = np.maximum(two.std(axis=1), _LEAST_CONTRAST)
    apart = np.abs(guess - two).mean(axis=1) * (50 / contrast)
    return np.asarray(np.where(slope[:, 0] > 0, apart, np.inf), np.float32)
