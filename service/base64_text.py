"""Base64 as clients send it, to bytes; opened on a scoring thread, off the event loop.

What is long is worked on in blocks, because one call over all of it would hold the interpreter for milliseconds.
"""

import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import pybase64

from artifact.errors import ImageTooLarge
from service.errors import ScoringError

BLOCK_BYTES = 256 * 1024  # divides by 4: each block is base64 for itself
MOST_AROUND_BYTES = 1024
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
    bare = _bare([block.translate(_STANDARD, _WHITE_SPACE) for block in blocks])
    if not bare:
        raise ScoringError("undecodable-image", "The base64 text is empty: send the image's bytes.")
    if (size := sum(map(len, bare)) * 3 // 4) > max_bytes:
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
    """The base64 without what clients put around it, and without padding."""
    blocks = [block for block in blocks if block]
    while len(blocks) > 1 and len(blocks[0]) < MOST_AROUND_BYTES:  # its white space is gone
        blocks[:2] = [blocks[0] + blocks[1]]
    if blocks and blocks[0][:2] in (b"b'", b'b"'):
        blocks[0] = blocks[0][1:]
    if blocks and blocks[0][:1] in _QUOTES and blocks[0][:1] == blocks[-1][-1:] and sum(map(len, blocks)) > 1:
        blocks[0] = blocks[0][1:]
        blocks[-1] = blocks[-1][:-1]
    if blocks and blocks[0][:5].lower() == b"data:":
        blocks[0] = blocks[0].partition(b",")[2]
    while blocks:
        blocks[-1] = blocks[-1].rstrip(b"=")
        if blocks[-1]:
            break
        blocks.pop()
    return blocks


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
