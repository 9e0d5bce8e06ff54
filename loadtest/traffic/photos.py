"""The images that are sent: files of a folder, or photos rendered in the sizes that callers have."""

import io
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from loadtest.errors import LoadTestError
from salver.system.regular_file import read_regular
from salver.text import printable

SIZES = {"thumbnail": (224, 224), "vga": (640, 480), "phone": (4032, 3024)}
"""Width and height; a phone's photo has 12 megapixels."""
COUNTS = {"thumbnail": 16, "vga": 16, "phone": 3}
"""How many different photos are rendered of each size."""
MAX_FILES = 64
MAX_BYTES = 256 * 1024**2
"""Of a photo to send: a service may be set to take larger ones than it does by default."""
QUALITY = 85
_GRAIN = 256


@dataclass(frozen=True)
class Photo:
    """An image file: bytes, their media type, and how often it is sent relative to the others."""

    data: bytes
    media_type: str
    weight: float


def rendered(sizes: Mapping[str, int]) -> tuple[Photo, ...]:
    """Photos by weight of each size in SIZES; the same ones on every machine."""
    return tuple(
        Photo(render(SIZES[name], seed), "image/jpeg", weight / COUNTS[name])
        for name, weight in sizes.items()
        if weight
        for seed in range(COUNTS[name])
    )


def from_folder(folder: Path) -> tuple[Photo, ...]:
    """The first MAX_FILES image files of a folder, by name. Raises LoadTestError when it holds none."""
    if not folder.is_dir():
        raise LoadTestError(f"{folder} is not a folder: give --images a folder with image files.")
    types = {path: mimetypes.guess_type(path.name)[0] or "" for path in sorted(folder.rglob("*")) if path.is_file()}
    images = [(path, kind) for path, kind in types.items() if kind.startswith("image/")][:MAX_FILES]
    if not images:
        raise LoadTestError(f"{folder} holds no image files: give --images a folder with some, or leave it out.")
    return tuple(Photo(_read(path), kind, 1) for path, kind in images)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_BYTES)
    except OSError as error:
        raise LoadTestError(f"{printable(path)} cannot be sent: {error.strerror}. Remove it.") from error


def render(size: tuple[int, int], seed: int) -> bytes:
    """A JPEG with a photo's bytes a pixel: smooth light, hard edges and a sensor's grain."""
    random = np.random.default_rng([seed, *size])
    light = Image.fromarray(random.integers(30, 226, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    edges = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(size, Image.Resampling.NEAREST)
    grain = random.normal(0, 5, (_GRAIN, _GRAIN, 1)).astype(np.int16)
    tiles = -(-size[1] // _GRAIN), -(-size[0] // _GRAIN), 1
    scene = np.asarray(Image.blend(light, edges, 0.2), dtype=np.int16) + np.tile(grain, tiles)[: size[1], : size[0]]
    file = io.BytesIO()
    Image.fromarray(scene.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
