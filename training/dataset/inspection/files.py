"""Looking at image files: what was found out is kept by their content, so that nothing is decoded twice.

A file that has neither changed its size nor any of its times is not even read again; a copy or a renamed file is read,
and found by its digest.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import PIL
from pydantic import TypeAdapter

from salver.system.cache import Cache
from salver.system.cores import available_cores
from salver.system.regular_file import read_regular
from training.dataset.inspection.inspection import Inspection, inspect_bytes
from training.progress import Progress, Silent

VERSION = 4
"""To be raised when an inspection has other fields, or the same bytes would give another one."""
NAME = f"inspections-{VERSION}-pillow-{PIL.__version__}"
"""Another Pillow may decode what this one refuses."""
_CHUNK = 256


class Stamp(NamedTuple):
    """A file that has been rewritten differs in one of these, even when its old date has been put back."""

    size: int
    changed_ns: int
    altered_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises OSError."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


_CONTENT = TypeAdapter(Inspection)
_FILE = TypeAdapter(tuple[Stamp, str])


def inspect_files(
    paths: Sequence[Path], progress: Progress | None = None, cache: Cache | None = None
) -> list[Inspection]:
    """One inspection a path, in order, on every core; what `cache`, or else the user's, knows is not decoded again.

    A file that cannot be opened has a problem and no sha256. What was done before an interruption stays in the cache.
    """
    if cache is None:
        with Cache.of_user(NAME) as cache:
            return inspect_files(paths, progress, cache)
    progress = progress or Silent()
    progress.begin("inspecting", len(paths))
    found = known(paths, cache)
    progress.advance(len(found))
    for path, stamp, inspection in _inspected([path for path in paths if path not in found], cache):
        found[path] = inspection
        if stamp:
            cache.put(
                {
                    _key(path): _FILE.dump_json((stamp, inspection.sha256)),
                    inspection.sha256.encode(): _CONTENT.dump_json(inspection),
                }
            )
        progress.advance(1)
    return [found[path] for path in paths]


def known(paths: Sequence[Path], cache: Cache) -> dict[Path, Inspection]:
    """What the cache has of files that have not changed since."""
    digests: dict[Path, bytes] = {}
    files = cache.get([_key(path) for path in paths])
    for path in paths:
        with suppress(OSError, KeyError):
            stamp, digest = _FILE.validate_json(files[_key(path)])
            if stamp == Stamp.of(path):
                digests[path] = digest.encode()
    contents = cache.get(list(set(digests.values())))
    inspections = {digest: _CONTENT.validate_json(content) for digest, content in contents.items()}
    return {path: inspections[digest] for path, digest in digests.items() if digest in inspections}


def _inspected(paths: Sequence[Path], cache: Cache) -> Iterator[tuple[Path, Stamp | None, Inspection]]:
    """By chunks, so that Ctrl-C does not wait for the whole queue."""
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(paths), _CHUNK):
            yield from pool.map(lambda path: _inspect(path, cache), paths[start : start + _CHUNK])


def _inspect(path: Path, cache: Cache) -> tuple[Path, Stamp | None, Inspection]:
    try:
        stamp = Stamp.of(path)
        data = read_regular(path)
    except OSError as error:
        return path, None, Inspection("", problem=f"The file cannot be read: {error.strerror}.")
    digest = hashlib.sha256(data).hexdigest()
    kept = cache.get([digest.encode()])
    if kept:
        return path, stamp, _CONTENT.validate_json(kept[digest.encode()])
    return path, stamp, inspect_bytes(data, digest)


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())
