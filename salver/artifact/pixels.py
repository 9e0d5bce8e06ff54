"""File bytes to pixels: the only code that does it, for training and for the service.

The rules are written for callers in docs/input-contract.md; its test vectors keep them.
"""

import math
import re
import struct
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from salver.artifact.bounds.structure import checked, webp_size
from salver.artifact.colour import scale_transparent_sample, to_srgb
from salver.artifact.errors import CorruptImage, ImageTooLarge, UnsupportedImage
from salver.artifact.formats import identify, open_header
from salver.artifact.frame import first_of_animation, frame_of_gif, ignore_unset_alpha, on_canvas, refuse_preview
from salver.artifact.manifest import PixelSpec
from salver.artifact.orientation import orientation

_FILTERS: Final = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers raise for damaged files, seen in their source and by fuzzing.
_DAMAGE: Final = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
# How those readers begin when the file is sound but of a kind that they do not know.
_NOT_KNOWN: Final = re.compile(r"cannot handle|unknown pixel mode|Unsupported BMP|.*not yet supported")
# Their words are told to whoever sent the file, unless they are a bare value or quote more than eight of its bytes.
_LONGEST_REASON: Final = 100
_QUOTATION: Final = re.compile(r"(['\"]).{33,}\1")
BYTES_A_PIXEL: Final = {"WebP": 17, "HEIC": 17, "AVIF": 14}
"""The most memory that decoding takes at once for a pixel, with a profile and a turn; tests measure it. A WebP's
decoder keeps three pictures besides ours."""
BYTES_A_PIXEL_ELSE: Final = 10
COEFFICIENT_BYTES: Final = 2
"""For each sample of a progressive JPEG, all of which are kept until the last scan."""
MOST_BYTES_A_PIXEL: Final = BYTES_A_PIXEL_ELSE + 4 * COEFFICIENT_BYTES
"""Of any file: a progressive JPEG in CMYK."""
_QUIET: Final = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@dataclass(frozen=True)
class Limits:
    """What one image may cost. All but the seconds is judged before any pixel is decoded."""

    max_bytes: int = 20 * 1024**2
    """Of the file."""
    max_pixels: int = 50_000_000
    """Width times height in its header."""
    max_memory_bytes: int = 1024**3
    """That decoding it takes, by `BYTES_A_PIXEL`. A decoding process gets no more."""
    max_cpu_seconds: float = 3.0
    """Of one core. Kept by `salver.artifact.bounds.decoders`, whose processes end when it is over."""


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True)
class Header:
    """What the file says of itself: the format, Pillow's mode, and pixels before it is turned upright."""

    form: str
    mode: str
    width: int
    height: int
    orientation: int
    """EXIF's, 1 to 8 or a number without a meaning."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in pixels as a person sees them."""
        return (self.height, self.width) if 5 <= self.orientation <= 8 else (self.width, self.height)


def decode(data: bytes, spec: PixelSpec, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """The first frame, upright, opaque, in mode RGB (8-bit sRGB).

    A JPEG may come smaller (1/2, 1/4 or 1/8 of its sides, scaled inside its inverse DCT), never below what
    `to_pixels` needs for `spec`. Raises ImageTooLarge, UnsupportedImage or CorruptImage, and nothing else.

    Files of strangers are decoded through `salver.artifact.bounds.decoders`, in a process that can be ended.
    """
    return decode_with_header(data, spec, limits)[0]


def decode_with_header(data: bytes, spec: PixelSpec, limits: Limits = DEFAULT_LIMITS) -> tuple[Image.Image, Header]:
    """As `decode`, and what the file says of itself."""
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"The image has {len(data):,} bytes; the limit is {limits.max_bytes:,} bytes.")
    kind = identify(data)
    _quiet_pillow()
    try:
        rgb, header = _decode(data, kind, spec, limits)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"The image has too many pixels; the limit is {limits.max_pixels:,}. {error}") from error
    except MemoryError as error:
        raise ImageTooLarge(f"The {kind} image needs more memory than there is.") from error
    except _DAMAGE as error:
        raise _refusal(kind, error) from error
    rgb.info = {}  # or whoever saves or turns the image would apply its profile or orientation a second time
    return rgb, header


def _decode(data: bytes, kind: str, spec: PixelSpec, limits: Limits) -> tuple[Image.Image, Header]:
    """Nothing here keeps hold of a step's image while the next one is made: each costs 4 bytes a pixel."""
    if kind == "WebP" and (claimed := webp_size(data)):
        _check_size(kind, claimed, _bytes_needed(kind, claimed), limits)
    data = checked(data, kind)
    data, frame = first_of_animation(data) if kind == "PNG" else (data, None)
    image = open_header(data, kind)
    frame = frame or frame_of_gif(image)
    turn = orientation(image)
    mode, (width, height) = image.mode, frame.canvas if frame else image.size
    _check_size(kind, (width, height), 0, limits)
    refuse_preview(image)
    if isinstance(image, JpegImageFile):
        _draft(image, spec, turn)
    samples = len(image.getbands()) * width * height if "progressive" in image.info else 0
    _check_size(kind, (width, height), _bytes_needed(kind, image.size) + COEFFICIENT_BYTES * samples, limits)
    scale_transparent_sample(image)
    image.load()
    if not isinstance(image, TiffImageFile):  # a PNG's may stand behind its pixels; Pillow has turned a TIFF by now
        turn = orientation(image)
    _let_go(image)
    ignore_unset_alpha(image)
    picture = image.crop(frame.box) if frame and image.size == frame.canvas else image
    del image
    picture = to_srgb(picture, spec.background)
    picture = on_canvas(picture, frame, spec.background)
    if turn in _UPRIGHT and kind != "TIFF":
        picture = picture.transpose(_UPRIGHT[turn])
    return picture, Header(kind, mode, width, height, turn)


def to_pixels(image: Image.Image, spec: PixelSpec) -> NDArray[np.uint8]:
    """Resize to the graph's input, uint8 [height, width, 3], writable. `image` has mode RGB and any size.

    One resampling, straight from the source box to the target, so that a 1 x 2000 image costs no giant intermediate.
    """
    if image.mode != "RGB":
        raise ValueError(f"to_pixels takes an RGB image, as decode gives it; this one has mode {image.mode}")
    if spec.resize == "pad":
        return np.array(_pad(image, spec))
    box = seen_box(image.size, spec)
    return np.array(image.resize((spec.width, spec.height), _FILTERS[spec.interpolation], box))


def seen_box(size: tuple[int, int], spec: PixelSpec) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what the graph's input shows, in pixels of the upright image of that `size`.

    With "crop" it lies inside the image, and what is outside of it the graph never sees; with "pad" it goes beyond.
    """
    if spec.resize == "pad":
        (wide, left), (high, top) = _padded(size, spec)
        across, down = size[0] / wide, size[1] / high
        return -left * across, -top * down, (spec.width - left) * across, (spec.height - top) * down
    return _crop_box(size, spec) if spec.shorter_side else (0.0, 0.0, float(size[0]), float(size[1]))


def _quiet_pillow() -> None:
    """Keep Pillow's warnings about odd metadata off stderr, and from becoming errors under `-W error`.

    `warnings.catch_warnings` swaps one list for the whole process, so threads undo each other's. A lasting filter
    for Pillow's modules only has no such moment; it is put in front again when another library has added its own.
    """
    if warnings.filters[:1] != [_QUIET]:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)


def _check_size(kind: str, size: tuple[int, int], needed_bytes: int, limits: Limits) -> None:
    """`needed_bytes` may be those of a smaller picture than the file's `size`, as JPEG can be decoded."""
    width, height = size
    pixels = width * height
    if pixels > limits.max_pixels:
        raise ImageTooLarge(
            f"The image has too many pixels: {width:,} x {height:,} = {pixels:,}; the limit is {limits.max_pixels:,}."
        )
    if needed_bytes > limits.max_memory_bytes:
        raise ImageTooLarge(
            f"The image has too many pixels for the memory that there is: {width:,} x {height:,} = {pixels:,}; "
            f"the limit for a {kind} like this one is {pixels * limits.max_memory_bytes // needed_bytes:,}."
        )


def _bytes_needed(kind: str, size: tuple[int, int]) -> int:
    return BYTES_A_PIXEL.get(kind, BYTES_A_PIXEL_ELSE) * math.prod(size)


def _let_go(image: ImageFile.ImageFile) -> None:
    """Of the decoder, which keeps two or three copies of its picture."""
    if hasattr(image, "_decoder"):
        image._decoder = None


def _refusal(kind: str, error: BaseException) -> UnsupportedImage | CorruptImage | ImageTooLarge:
    reason = " ".join(str(error).split()).rstrip(".")
    if " " not in reason or len(reason) > _LONGEST_REASON or _QUOTATION.search(reason):
        reason = "a part of it cannot be read"
    if _NOT_KNOWN.match(reason):
        return UnsupportedImage(f"This kind of {kind} is not a supported image ({reason}): save it as PNG or JPEG.")
    if "MAX_TEXT" in reason:
        return ImageTooLarge(f"The {kind} image holds too much text or too large a colour profile: {reason}.")
    return CorruptImage(f"The {kind} file is truncated or corrupt ({reason}).")


def _draft(image: JpegImageFile, spec: PixelSpec, turn: int) -> None:
    """Let libjpeg decode at 1/8, 1/4 or 1/2 where that still covers what the resize needs."""
    width, height = image.size
    upright = (height, width) if turn >= 5 else (width, height)
    shrink = _shrink(upright, spec)
    scale = next((scale for scale in (8, 4, 2) if scale <= shrink), None)
    if scale is not None:
        # Pillow takes the largest of 8, 4, 2, 1 up to min(width // w, height // h), which these sides make `scale`.
        image.draft(None, (max(1, width // scale), max(1, height // scale)))


def _shrink(size: tuple[int, int], spec: PixelSpec) -> float:
    """How many times smaller the resize makes the image, on the side where it does so least."""
    width, height = size
    if spec.shorter_side is not None:
        return min(size) / spec.shorter_side
    sides = (width / spec.width, height / spec.height)
    return max(sides) if spec.resize == "pad" else min(sides)


def _crop_box(size: tuple[int, int], spec: PixelSpec) -> tuple[float, float, float, float]:
    """The centre of the source that becomes height x width; whole pixels where nothing is scaled."""
    shrink = _shrink(size, spec)
    width, height = spec.width * shrink, spec.height * shrink
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    if shrink == 1:
        left, top = float(int(left)), float(int(top))
    return max(left, 0.0), max(top, 0.0), min(left + width, size[0]), min(top + height, size[1])


def _pad(image: Image.Image, spec: PixelSpec) -> Image.Image:
    (width, left), (height, top) = _padded(image.size, spec)
    canvas = Image.new("RGB", (spec.width, spec.height), spec.background)
    canvas.paste(image.resize((width, height), _FILTERS[spec.interpolation]), (left, top))
    return canvas


def _padded(size: tuple[int, int], spec: PixelSpec) -> tuple[tuple[int, int], tuple[int, int]]:
    """The sides that the image gets, and where each begins: across, then down."""
    shrink = _shrink(size, spec)
    width, height = (max(1, round(side / shrink)) for side in size)
    return (width, (spec.width - width) // 2), (height, (spec.height - height) // 2)
