"""Which image format the bytes are, told by their content, and its reader.

Pillow's plugin classes are called directly instead of through `Image.open`: no other format can then be tried (no
EPS, no external program), the plugin's own reason survives, and Pillow's bomb warning, which only `Image.open` gives,
does not stand in the way of a pixel limit of our own.
"""

import io
from collections.abc import Callable

from PIL import ImageFile, PngImagePlugin, _avif
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from salver.artifact.bounds.structure import MAX_BLOCK_BYTES
from salver.artifact.errors import UnsupportedImage
from salver.artifact.orientation import AVIF_ORIENTATION

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"%PDF": "a PDF document",
    b"%!PS": "an EPS or PostScript file",
    b"\xc5\xd0\xd3\xc6": "an EPS or PostScript file",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\1\0": "an ICO icon",
    b"8BPS": "a Photoshop file",
    b"\x1f\x8b": "a gzip archive",
    b"PK\3\4": "a zip archive or an office document",
    b"version https://git-lfs": "a Git LFS pointer instead of the file itself",
}
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


class _Stream(io.BytesIO):
    """Reading at the end is an error, so that a cut file is one even where LOAD_TRUNCATED_IMAGES has been set."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size and not data:
            raise OSError("the file ends too early")
        return data


class _Jpeg(JpegImageFile):
    """Also for MPO, whose first picture is an ordinary JPEG at the start of the file."""

    def _read_dpi_from_exif(self) -> None:
        """Nothing here needs the resolution, and Pillow's look-up refuses the image over some broken EXIF blocks."""


class _Avif(AvifImageFile):
    """Decoded by one thread, as every format is, and without reading the whole EXIF block for its orientation."""

    def _open(self) -> None:
        assert self.fp is not None
        self._decoder = _avif.AvifDecoder(self.fp.read(), "auto", 1)
        self._size, self.n_frames, self._mode, profile, _, orientation, _ = self._decoder.get_info()
        self.is_animated = self.n_frames > 1
        if profile:
            self.info["icc_profile"] = profile
        self.info[AVIF_ORIENTATION] = orientation
        self.seek(0)


def _open_heic(stream: io.BytesIO) -> ImageFile.ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnsupportedImage(
            "HEIC is not a supported image format here: install the extra (pip install -e '.[heic]' in a "
            f"clone of Salver) or convert the image. {_readable()}"
        ) from error
    image: ImageFile.ImageFile = HeifImageFile(stream)
    return image


_READERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "WebP": WebPImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "AVIF": _Avif,
    "HEIC": _open_heic,
}


def _readable() -> str:
    return f"Formats read: {', '.join(name for name in _READERS if name != 'HEIC')}, and HEIC with the extra 'heic'."


def _text_kind(data: bytes) -> str:
    text = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in text:
        return "an SVG drawing"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if text.startswith(b"<?xml"):
        return "an XML document"
    return "of no known image type"


def _kind(data: bytes) -> str:
    """A key of `_READERS`, or in words what the bytes look like."""
    if not data:
        return "an empty file"
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if data[4:8] == b"ftyp":
        box = data[8 : max(12, min(int.from_bytes(data[:4]), 256))]
        brands = {box[start : start + 4] for start in range(0, len(box), 4)}
        return "AVIF" if brands & _AVIF_BRANDS else "HEIC" if brands & _HEIC_BRANDS else "a video"
    return _text_kind(data)


def identify(data: bytes) -> str:
    """The format's name. Raises UnsupportedImage, saying what the bytes look like instead."""
    kind = _kind(data)
    if kind not in _READERS:
        raise UnsupportedImage(f"The bytes are not a supported image: they are {kind}. {_readable()}")
    return kind


def open_header(data: bytes, kind: str) -> ImageFile.ImageFile:
    """Parse the header only; no pixel is decoded. Raises what Pillow's plugin raises, or UnsupportedImage."""
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_BLOCK_BYTES  # or a profile that is read from a JPEG would refuse a PNG
    image = _READERS[kind](_Stream(data))
    if len(image.tile) == 1:
        # In one piece instead of 64 KiB ones: between two pieces the decoder waits for Python's lock again.
        image.decodermaxblock = max(image.decodermaxblock, len(data))
    return image
