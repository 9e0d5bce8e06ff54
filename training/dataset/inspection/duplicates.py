"""Which images show the same picture: byte-identical files, and resized or re-encoded copies."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from training.dataset.inspection.inspection import Inspection

HASH_DISTANCE = 11
"""Differing bits of 64. Copies at half to one and a half times the size, JPEG quality 50 to 80, of 577 photos and
drawings differed in 8 at most; smooth pictures with little to go by in up to 11."""
TILE_DISTANCE = 5.0
"""Levels, the mean over 8 x 8 colours. Those copies differed by 4.4 at most. Of 49,702 pairs of the 577 two are nearer
in both than this, and they are near duplicates indeed."""
FEW = 800_000
"""Up to here comparing each hash with each is faster: 2.6 s for 100,000 on 2 cores, against 21 s with tables."""
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
    hashes = np.frombuffer(b"".join(inspections[row].phash for row in rows), dtype=np.uint8).reshape(len(rows), 8)
    tiles = np.frombuffer(b"".join(inspections[row].tile for row in rows), dtype=np.uint8).reshape(len(rows), -1)
    index = _tables() if len(rows) > few else faiss.IndexBinaryFlat(64)
    index.add(hashes)
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
    for start in range(0, len(hashes), _BLOCK):
        # faiss finds what is nearer than the radius.
        ends, _, others = index.range_search(hashes[start : start + _BLOCK], HASH_DISTANCE + 1)
        counts = ends[1:].astype(np.int64) - ends[:-1].astype(np.int64)
        queries = start + np.repeat(np.arange(len(counts)), counts)
        later = others > queries
        one, two = queries[later], others[later]
        difference = np.abs(tiles[one].astype(np.int16) - tiles[two]).mean(axis=1)
        near = difference <= TILE_DISTANCE
        yield from zip(one[near].tolist(), two[near].tolist(), strict=True)
