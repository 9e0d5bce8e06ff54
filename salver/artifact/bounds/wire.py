"""protobuf's wire format (https://protobuf.dev/programming-guides/encoding/), as far as walking through it needs."""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types, the last three bits of a tag. Groups (3, 4) are in no file of ONNX."""
WIDTHS = {FIXED64: 8, FIXED32: 4}
"""In bytes."""
_LONGEST = 70
"""Bits of a varint: ten bytes of seven."""

Bytes = bytes | memoryview


class NoVarint(Exception):
    """No number ends where one should; `args` is the place."""


def varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends. Raises NoVarint."""
    value = shift = 0
    while at < end and shift < _LONGEST:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise NoVarint(at)


def fields(message: memoryview, number: int) -> Iterator[memoryview]:
    """The fields of that number with a length, without copying; of a message that was found to be in order."""
    for _, begin, end in places(message, number):
        yield message[begin:end]


def places(message: memoryview, number: int) -> Iterator[tuple[int, int, int]]:
    """Where the tag, the content and the end of each of them stand."""
    at, end = 0, len(message)
    while at < end:
        start = at
        tag, at = varint(message, at, end)
        wire = tag & 7
        if wire == VARINT:
            _, at = varint(message, at, end)
            continue
        length, at = varint(message, at, end) if wire == BYTES else (WIDTHS[wire], at)
        if tag == number << 3 | BYTES:
            yield start, at, at + length
        at += length
