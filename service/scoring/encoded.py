"""An image as it came, to pixels on a scoring thread, off the event loop: base64 as clients send it is opened here.

What is long is worked on in blocks, because one call over all of it would hold the interpreter for milliseconds.
"""

import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pybase64

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.errors import ImageTooLarge
from salver.artifact.facts.histograms import Look
from salver.artifact.pixels import Header
from service.errors import ScoringError
from service.scoring.model import Model, Pixels

BLOCK_BYTES = 256 * 1024  # divides by 4: each block is base64 for itself
MOST_AROUND_BYTES = 1024
_STANDARD = bytes.maketrans(b"-_", b"+/")
_BLANK = b" "
"""Not among the white space that is left out: inside base64 it is a '+' that a decoder of forms took for a space, and
the bytes without it may well be another image."""
_WHITE_SPACE = b"\t\r\n\f\v"
_QUOTES = (b"'", b'"')


@dataclass(frozen=True, slots=True)
class LongText:
    """A long ASCII text in blocks, whose lengths but for the last one's divide by 4; none when it was not ASCII."""

    blocks: tuple[bytes, ...] | None

    def __len__(self) -> int:
        return _size(self.blocks or ())


Encoded = str | LongText | bytes | Pixels
"""An image as it came: base64 text, file bytes, or ready uint8 pixels [height, width, 3]."""


class Prepared(NamedTuple):
    """An image as the model takes it."""

    pixels: Pixels
    """uint8 [height, width, 3]."""
    header: Header | None
    """What its file says of itself; None for ready pixels."""
    look: Look | None
    """What there is to count of it; None for what was seen of late."""


def prepare(image: Encoded, model: Model, decoders: Decoders, given_up: Callable[[], bool] = lambda: False) -> Prepared:
    """The image as the model takes it; see `Decoders.pixels` for `given_up`.

    Raises ScoringError, ImageError and DecodingUnavailable.
    """
    if isinstance(image, np.ndarray):
        return Prepared(image, None, model.facts.look(image, None))
    data = image_bytes(image, decoders.limits.max_bytes) if isinstance(image, str | LongText) else image
    pixels, header = decoders.pixels(data, model.manifest.pixels, given_up)
    return Prepared(pixels, header, model.facts.look(pixels, header))


def image_bytes(text: str | LongText, max_bytes: int) -> bytes:
    """Open base64 in the forms that clients send, then strictly.

    Read are a `data:` prefix, line breaks and tabs, blanks around the text, surrounding quotes, Python's `b'…'`, the
    URL-safe alphabet and missing padding. Raises ScoringError `undecodable-image`, for a blank inside the text too, or
    ImageTooLarge before it opens what is over `max_bytes`.
    """
    blocks = _blocks(text)
    if text and len(text) * 3 // 4 <= max_bytes:
        try:  # as most clients send it: what is strictly base64 needs no look for other forms
            return _opened(blocks)
        except binascii.Error:
            pass
    bare = _bare([block.translate(_STANDARD, _WHITE_SPACE) for block in blocks])
    if not bare:
        raise ScoringError("undecodable-image", "The base64 text is empty: send the image's bytes.")
    if (size := _size(bare) * 3 // 4) > max_bytes:
        raise ImageTooLarge(f"The image has {size:,} bytes; the limit is {max_bytes:,} bytes.")
    try:
        return _opened(_aligned(bare))
    except binascii.Error:
        raise _refusal() from None


def _blocks(text: str | LongText) -> tuple[bytes, ...]:
    """Raises ScoringError for what is not ASCII, before anything is made of it."""
    if isinstance(text, LongText):
        if text.blocks is None:
            raise _refusal()
        return text.blocks
    if not text.isascii():
        raise _refusal()
    return (text.encode("ascii"),)


def _opened(blocks: Sequence[bytes]) -> bytes:
    """Each block is opened, and all are joined, without holding the interpreter."""
    *whole, last = blocks
    if any(block.endswith(b"=") for block in whole):
        raise binascii.Error
    padded = last + b"=" * (-len(last) % 4)
    return b"".join([pybase64.b64decode(block, validate=True) for block in (*whole, padded)])


def _bare(blocks: list[bytes]) -> list[bytes]:
    """The base64 without what clients put around it, and without padding.

    Raises ScoringError for a blank that may have been a '+'. Before the text none was, as no image file begins so.
    """
    inside, blanks = _stripped(blocks)
    while len(inside) > 1 and len(inside[0]) < MOST_AROUND_BYTES:  # its white space is gone
        inside[:2] = [inside[0] + inside[1]]
    inside, more_blanks = _stripped(_unwrapped(inside))
    blanks += more_blanks
    size, is_padded = _size(inside), bool(inside) and inside[-1].endswith(b"=")
    while inside:
        inside[-1] = inside[-1].rstrip(b"=")
        if inside[-1]:
            break
        inside.pop()
    # Behind the text, too, unless it is whole without them and would not be with them.
    if any(_BLANK in block for block in inside) or (blanks and (size % 4 or (not is_padded and blanks % 4 == 0))):
        raise ScoringError(
            "undecodable-image",
            "The text is not base64: it has a blank where a '+' may have stood, as when a form or a URL is decoded. "
            "Send '+' as %2B there, and leave blanks out.",
        )
    return inside


def _unwrapped(blocks: list[bytes]) -> list[bytes]:
    """What stands inside quotes and behind `data:`. Raises ScoringError for a `data:` that has no comma."""
    if blocks and blocks[0][:2] in (b"b'", b'b"'):
        blocks[0] = blocks[0][1:]
    if blocks and blocks[0][:1] in _QUOTES and blocks[0][:1] == blocks[-1][-1:] and _size(blocks) > 1:
        blocks[0] = blocks[0][1:]
        blocks[-1] = blocks[-1][:-1]
    if blocks and blocks[0][:5].lower() == b"data:":
        _, comma, blocks[0] = blocks[0].partition(b",")
        if not comma:
            raise _refusal()
    return blocks


def _stripped(blocks: list[bytes]) -> tuple[list[bytes], int]:
    """Without blanks at either end, in blocks that are this list's own; and how many there were at the far end."""
    full = [place for place, block in enumerate(blocks) if block.strip(_BLANK)]
    if not full:
        return [], 0
    inside = blocks[full[0] : full[-1] + 1]
    inside[-1] = inside[-1].rstrip(_BLANK)
    blanks = _size(blocks[full[-1] :]) - len(inside[-1])
    inside[0] = inside[0].lstrip(_BLANK)
    return inside, blanks


def _size(blocks: Sequence[bytes]) -> int:
    return sum(map(len, blocks))


def _aligned(blocks: list[bytes]) -> list[bytes]:
    """The same text in blocks whose lengths divide by 4, but for the last one's."""
    aligned: list[bytes] = []
    rest = b""
    for block in blocks:
        rest += block
        size = len(rest) // 4 * 4
        aligned.append(rest[:size])
        rest = rest[size:]
    return [*aligned, rest]


def _refusal() -> ScoringError:
    return ScoringError(
        "undecodable-image", "The text is not base64: send the image's bytes in the standard base64 alphabet."
    )
