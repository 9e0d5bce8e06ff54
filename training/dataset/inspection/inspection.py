"""What one image file is: whether it can be decoded, its form, and what it looks like, for finding near duplicates.

The look is a 64-bit perceptual hash (pHash: the signs of the lowest frequencies of a cosine transform, C. Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010) and a tile of 8 x 8 colours.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from salver.artifact.errors import DecodingUnavailable, ImageError
from salver.artifact.manifest import PixelSpec
from salver.system.cores import available_cores
from salver.system.regular_file import read_regular
from training.dataset.decoding import decoders
from training.dataset.inspection.cache import InspectionCache, Stamp
from training.errors import DatasetError
from training.progress import Progress, Silent

SMALL = PixelSpec(height=64, width=64, resize="stretch")
"""A JPEG need not be decoded in full for a hash; all of its bytes are read all the same, so truncation shows."""
FLAT = 2.0
"""Grey levels: an image whose standard deviation is below has no pattern that a hash could tell from another's."""
_TURNS = range(1, 9)
"""The rest has no meaning, and decoding ignores it."""
_CHUNK = 256


@dataclass(frozen=True)
class Inspection:
    """`problem` says why `salver.artifact.pixels` refuses the file; it is empty for an image, then the rest is known.

    width and height are those of the file, before its EXIF orientation is applied. `phash` (8 bytes) and `tile` (192
    bytes: 8 x 8 RGB) are empty for a flat image.
    """

    sha256: str
    size_bytes: int = 0
    problem: str = ""
    form: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    phash: bytes = b""
    tile: bytes = b""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in pixels as a person sees them."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def inspect_bytes(data: bytes, digest: str = "") -> Inspection:
    """Decode the file's bytes; `digest` is their sha256 where it is known already."""
    found = Inspection(digest or hashlib.sha256(data).hexdigest(), len(data))
    try:
        image, header = decoders().image(data, SMALL)
    except ImageError as error:
        return replace(found, problem=str(error))
    except DecodingUnavailable as error:
        raise DatasetError(f"{error} Start the command again.") from error
    phash, tile = _look(image)
    return replace(
        found,
        form=header.form,
        mode=header.mode,
        width=header.width,
        height=header.height,
        orientation=header.orientation if header.orientation in _TURNS else 1,
        phash=phash,
        tile=tile,
    )


def inspect_files(paths: Sequence[Path], cache: InspectionCache, progress: Progress | None = None) -> list[Inspection]:
    """One inspection a path, in order, on every core; what `cache` knows is not decoded again.

    A file that cannot be opened has a problem and no sha256. What was done before an interruption stays in the cache.
    """
    progress = progress or Silent()
    progress.begin("inspecting", len(paths))
    found: dict[Path, Inspection] = {}
    unknown: list[Path] = []
    for path in paths:
        known = cache.of_file(path)
        if known:
            found[path] = Inspection(*known)
        else:
            unknown.append(path)
    progress.advance(len(found))
    for path, stamp, inspection in _inspected(unknown, cache):
        found[path] = inspection
        if stamp:
            cache.keep(path, stamp, inspection)
        progress.advance(1)
    return [found[path] for path in paths]


def _inspected(paths: Sequence[Path], cache: InspectionCache) -> Iterator[tuple[Path, Stamp | None, Inspection]]:
    """By chunks, so that Ctrl-C does not wait for the whole queue; each chunk is in the cache before the next."""
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(paths), _CHUNK):
            yield from pool.map(lambda path: _inspect(path, cache), paths[start : start + _CHUNK])
            cache.commit()


def _inspect(path: Path, cache: InspectionCache) -> tuple[Path, Stamp | None, Inspection]:
    try:
        stamp = Stamp.of(path)
        data = read_regular(path)
    except OSError as error:
        return path, None, Inspection("", problem=f"The file cannot be read: {error.strerror}.")
    digest = hashlib.sha256(data).hexdigest()
    known = cache.of_content(digest)
    return path, stamp, Inspection(*known) if known else inspect_bytes(data, digest)


def _look(image: Image.Image) -> tuple[bytes, bytes]:
    if np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX)).std() < FLAT:
        return b"", b""
    bits = imagehash.phash(image).hash
    return np.packbits(bits).tobytes(), image.resize((8, 8), Image.Resampling.BOX).tobytes()
