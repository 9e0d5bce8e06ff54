"""What one image file is: whether it can be decoded, its form, and what it looks like, for finding near duplicates.

The look is a 64-bit perceptual hash (pHash: which of the lowest frequencies of a cosine transform are above their
median, C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), for each way to turn and
mirror the picture, and a tile of 8 x 8 colours.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from PIL import Image
from pydantic import ConfigDict
from scipy.fft import dctn

from salver.artifact.errors import DecodingUnavailable, ImageError
from salver.artifact.manifest import PixelSpec
from training.dataset.inspection.decoding import decoders
from training.dataset.inspection.symmetries import turned_spectra
from training.errors import DatasetError

SMALL = PixelSpec(height=64, width=64, resize="stretch")
"""A JPEG need not be decoded in full for a hash; all of its bytes are read all the same, so truncation shows."""
FLAT = 2.0
"""Grey levels: an image whose standard deviation is below has no pattern that a hash could tell from another's."""
_TRANSFORMED = 32
"""Pixels: the side of the grey picture that is transformed."""
_FREQUENCIES = 8
"""The lowest, in each direction."""
_TURNS = range(1, 9)
"""The rest has no meaning, and decoding ignores it."""


@dataclass(frozen=True)
class Inspection:
    """`problem` says why `salver.artifact.pixels` refuses the file; it is empty for an image, then the rest is known.

    width and height are those of the file, before its EXIF orientation is applied. `phash` (eight hashes of 8
    bytes, in the order of `symmetries.turned`: that of the picture as it is comes first) and `tile` (192 bytes: 8 x 8
    RGB) are empty for a flat image.
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
    __pydantic_config__: ClassVar = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

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


def _look(image: Image.Image) -> tuple[bytes, bytes]:
    grey = image.convert("L")
    if np.asarray(grey.resize((_TRANSFORMED, _TRANSFORMED), Image.Resampling.BOX)).std() < FLAT:
        return b"", b""
    small = np.asarray(grey.resize((_TRANSFORMED, _TRANSFORMED), Image.Resampling.LANCZOS), dtype=np.float64)
    spectra = turned_spectra(dctn(small)[:_FREQUENCIES, :_FREQUENCIES])
    bits = spectra > np.median(spectra, axis=(1, 2), keepdims=True)
    return np.packbits(bits).tobytes(), image.resize((8, 8), Image.Resampling.BOX).tobytes()
