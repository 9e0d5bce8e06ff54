"""Base64 as clients send it, to bytes; opened on a scoring thread, off the event loop.

What is long is worked on in blocks, because one call over all of it would hold the interpreter for milliseconds.
"""

import binascii
from dataclasses import dataclass

import pybase64

from artifact.errors import ImageTooLarge
from service.errors import ScoringError

BLOCK_BYTES = 256 * 1024  # divides by 4: each block is base64 for itself
_STANDARD = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE = b" \t\r\n\f\v"
_QUOTES = (b"'", b'"')


@dataclass(frozen=True, slots=True)
class LongText:
    """A long ASCII text in blocks, whose lengths but for the last one's divide by 4; none when it was not ASCII."""

    blocks: tuple[bytes, ...] | None

    def __len__(self) -> int:
        return sum(map(len, self.blocks or ()))


def image_bytes(text: str | LongText, max_bytes: int) -> bytes:
    """Open base64 in the forms that clients send, then strictly.

    Read are a `data:` prefix, white space, surrounding quotes, Python's `b'…'`, the URL-safe alphabet and missing
    padding. Raises ScoringError `undecodable-image`, or ImageTooLarge before it opens what is over `max_bytes`.
    """
    blocks = _blocks(text)
    if text and len(text) * 3 // 4 <= max_bytes:
        try:  # as most clients send it: what is strictly base64 needs no look for other forms
            return _opened(blocks)
        except binascii.Error:
            pass
    bare = b"".join([block.translate(_STANDARD, _WHITE_SPACE) for block in blocks])
    start, end = _inside(bare)
    if start == end:
        raise ScoringError("undecodable-image", "The base64 text is empty: send the image's bytes.")
    if (size := (end - start) * 3 // 4) > max_bytes:
        raise ImageTooLarge(f"The image has {size:,} bytes; the limit is {max_bytes:,} bytes.")
    try:
        return _opened([bare[at : min(at + BLOCK_BYTES, end)] for at in range(start, end, BLOCK_BYTES)])
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


def _opened(blocks: list[bytes] | tuple[bytes, ...]) -> bytes:
    """Each block is opened, and all are joined, without holding the interpreter."""
    *whole, last = blocks
    if any(block.endswith(b"=") for block in whole):
        raise binascii.Error
    padded = last + b"=" * (-len(last) % 4)
    return b"".join([pybase64.b64decode(block, validate=True) for block in (*whole, padded)])


def _inside(text: bytes) -> tuple[int, int]:
    """Where the base64 begins and ends, without what clients put around it, and without padding."""
    start, end = 0, len(text)
    if text[:2] in (b"b'", b'b"'):
        start = 1
    if end - start >= 2 and text[start : start + 1] == text[end - 1 : end] and text[start : start + 1] in _QUOTES:
        start, end = start + 1, end - 1
    if text[start : min(start + 5, end)].lower() == b"data:":
        comma = text.find(b",", start, end)
        start = end if comma < 0 else comma + 1
    while end > start and text[end - 1 : end] == b"=":
        tail = text[max(start, end - BLOCK_BYTES) : end]
        end -= len(tail) - len(tail.rstrip(b"="))
    return start, end


def _refusal() -> ScoringError:
    return ScoringError(
        "undecodable-image", "The text is not base64: send the image's bytes in the standard base64 alphabet."
    )
