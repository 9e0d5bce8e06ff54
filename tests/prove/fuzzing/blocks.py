"""Mutations that know of what blocks an image file is made, so that the fuzzer reaches what lies behind checksums."""

import random
import struct
import zlib
from collections.abc import Callable

Split = tuple[bytes, list[bytes]]
"""What stands before the first block, and the blocks, which together are the file."""
MANY = (2, 30, 400, 5000)
"""How often a block is repeated: cost shows in numbers."""
MOST_BYTES = 2**20


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The file with one or two of its blocks repeated, taken out, moved, emptied, or with other numbers in them."""
    for sign, split in SPLITS.items():
        if data.startswith(sign):
            head, blocks = split(data)
            for _ in range(chance.randint(1, 2)):
                if blocks:
                    chance.choice(CHANGES)(blocks, chance)
            return head + b"".join(_sealed(block) if sign == PNG else block for block in blocks)
    return data


def _repeat(blocks: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(blocks))
    blocks[at:at] = [blocks[at]] * min(chance.choice(MANY), MOST_BYTES // max(1, len(blocks[at])))


def _take_out(blocks: list[bytes], chance: random.Random) -> None:
    del blocks[chance.randrange(len(blocks))]


def _move(blocks: list[bytes], chance: random.Random) -> None:
    blocks.insert(chance.randrange(len(blocks)), blocks.pop(chance.randrange(len(blocks))))


def _empty(blocks: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(blocks))
    blocks[at] = blocks[at][:4] + bytes(max(0, min(8, len(blocks[at]) - 4)))


def _other_number(blocks: list[bytes], chance: random.Random) -> None:
    """One that is large, small, or just over a limit, in two or four bytes of either order."""
    at = chance.randrange(len(blocks))
    block, size = bytearray(blocks[at]), chance.choice((2, 4))
    place = chance.randrange(max(1, len(block) - size))
    number = chance.choice((0, 1, 255, 256, 1023, 1025, 16_383, 32_768, 65_535, 2**24, 2**31 - 1, 2**32 - 1))
    block[place : place + size] = (number % 256**size).to_bytes(size, chance.choice(("big", "little")))
    blocks[at] = bytes(block)


CHANGES: tuple[Callable[[list[bytes], random.Random], None], ...] = (
    _repeat,
    _take_out,
    _move,
    _empty,
    _other_number,
    _other_number,
)


def _jpeg(data: bytes) -> Split:
    """Segments; a scan has what it codes with it."""
    blocks, at = [], 2
    while at + 4 <= len(data):
        ends = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] == 0xDA:
            while ends < len(data) and not (data[ends] == 0xFF and data[ends + 1 : ends + 2] not in (b"\0", b"")):
                ends += 1
        blocks.append(data[at:ends])
        at = max(ends, at + 2)
    return data[:2], [*blocks, data[at:]]


def _png(data: bytes) -> Split:
    blocks, at = [], 8
    while at + 8 <= len(data):
        ends = at + 12 + int.from_bytes(data[at : at + 4])
        blocks.append(data[at:ends])
        at = ends
    return data[:8], blocks


def _sealed(chunk: bytes) -> bytes:
    """A PNG's chunk with a length and a checksum that fit."""
    content = chunk[8:-4]
    name = chunk[4:8].ljust(4, b"a")
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _riff(data: bytes) -> Split:
    blocks, at = [], 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        ends = at + 8 + length + length % 2
        blocks.append(data[at:ends])
        at = ends
    return data[:12], blocks


def _pieces(start: int, size: int) -> Callable[[bytes], Split]:
    """Blocks of one size behind a head: a TIFF's directory entries where it stands first, a GIF's and a BMP's bytes."""

    def split(data: bytes) -> Split:
        return data[:start], [data[at : at + size] for at in range(start, len(data), size)]

    return split


PNG = b"\x89PNG"
SPLITS: dict[bytes, Callable[[bytes], Split]] = {
    b"\xff\xd8": _jpeg,
    PNG: _png,
    b"RIFF": _riff,
    b"GIF8": _pieces(13, 3),
    b"BM": _pieces(14, 4),
    b"II": _pieces(10, 12),
    b"MM": _pieces(10, 12),
    b"\0\0\0": _pieces(4, 4),
}
