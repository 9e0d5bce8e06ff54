"""Changes of a protobuf message by its fields: what a change of bytes seldom leaves in order."""

import random
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from salver.artifact.bounds.wire import BYTES, FIXED32, FIXED64, VARINT, WIDTHS, NoVarint, varint
from tests.support.strangers import elsewhere

STOLEN = elsewhere().SerializeToString()
DEEPEST = 12


class Part(NamedTuple):
    """A field: its number, wire type, and content without the length."""

    number: int
    wire: int
    content: bytes


Change: TypeAlias = Callable[[list[Part], int, random.Random], bytes]


def parts_of(message: bytes) -> list[Part] | None:
    """Its fields; None for what is no message."""
    found, at = [], 0
    try:
        while at < len(message):
            tag, at = varint(message, at, len(message))
            wire, begin = tag & 7, at
            if wire == BYTES:
                length, begin = varint(message, at, len(message))
                at = begin + length
            elif wire == VARINT:
                _, at = varint(message, at, len(message))
            elif wire in WIDTHS:
                at += WIDTHS[wire]
            else:
                return None
            if at > len(message) or not tag >> 3:
                return None
            found.append(Part(tag >> 3, wire, message[begin:at]))
    except NoVarint:
        return None
    return found


def number(value: int, padding: int = 0) -> bytes:
    """A varint, with so many bytes more than it needs."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    groups += [0] * padding
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def message_of(parts: list[Part], padding: int = 0) -> bytes:
    """The fields as bytes."""
    return b"".join(
        number(part.number << 3 | part.wire, padding)
        + (number(len(part.content)) if part.wire == BYTES else b"")
        + part.content
        for part in parts
    )


def mutated(message: bytes, chance: random.Random, depth: int = 0) -> bytes:
    """The message with one of its fields changed, or one of a message inside it."""
    parts = parts_of(message)
    if not parts:
        at = chance.randrange(len(message) + 1)
        inserted: bytes = chance.choice([STOLEN, chance.randbytes(3), b""])
        return message[:at] + inserted + message[at + chance.randrange(4) :]
    place = chance.randrange(len(parts))
    part = parts[place]
    if part.wire == BYTES and part.content and depth < DEEPEST and chance.random() < 0.8:
        parts[place] = part._replace(content=mutated(part.content, chance, depth + 1))
        return message_of(parts)
    change: Change = chance.choice(CHANGES)
    return change(parts, place, chance)


def _twice(parts: list[Part], place: int, _: random.Random) -> bytes:
    return message_of([*parts, parts[place]])


def _dropped(parts: list[Part], place: int, _: random.Random) -> bytes:
    return message_of(parts[:place] + parts[place + 1 :])


def _stolen(parts: list[Part], place: int, chance: random.Random) -> bytes:
    """A tensor of another file in the place of, or beside, what stands there."""
    new = Part(chance.choice([parts[place].number, 5, 10, 1, 2, 22, 15]), BYTES, STOLEN)
    return message_of([*parts[:place], new, *parts[place + chance.randrange(2) :]])


def _elsewhere(parts: list[Part], place: int, chance: random.Random) -> bytes:
    """The mark of such a tensor, in one of the forms that protobuf takes for it."""
    forms = [Part(14, VARINT, b"\x01"), Part(14, VARINT, b"\x81\x00"), Part(14, VARINT, b"\x81\x80\x80\x80\x10")]
    forms += [Part(14, BYTES, b"\x01"), Part(13, BYTES, b"\n\x01a\x12\x01b"), Part(14, VARINT, b"\x00")]
    return message_of([*parts[:place], chance.choice(forms), *parts[place:]], padding=chance.choice([0, 0, 1, 3]))


def _other_wire(parts: list[Part], place: int, chance: random.Random) -> bytes:
    wire = chance.choice([VARINT, FIXED32, FIXED64, BYTES, 3, 4])
    return message_of([*parts[:place], parts[place]._replace(wire=wire), *parts[place + 1 :]])


def _other_number(parts: list[Part], place: int, chance: random.Random) -> bytes:
    new = parts[place]._replace(number=chance.choice([*range(1, 27), 100, 2**28]))
    return message_of([*parts[:place], new, *parts[place + 1 :]])


def _shuffled(parts: list[Part], _: int, chance: random.Random) -> bytes:
    return message_of(chance.sample(parts, len(parts)))


def _cut(parts: list[Part], place: int, chance: random.Random) -> bytes:
    whole = message_of(parts)
    return whole[: chance.randrange(len(whole) + 1)] + (STOLEN if place % 2 else b"")


CHANGES: tuple[Change, ...] = (
    _twice,
    _dropped,
    _stolen,
    _elsewhere,
    _other_wire,
    _other_number,
    _shuffled,
    _cut,
)
