"""The body of a request: its head is judged before it is read, and every byte is counted before it is kept."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from salver.system.packing import PackingError, Unpacker
from service.api.json_body import WHOLE_BYTES
from service.errors import ScoringError
from service.limits.request import Share

READ_TYPES = "application/json in UTF-8, image/* (one file's bytes) or multipart/form-data (files)"
MAX_BOUNDARY_BYTES = 70  # RFC 2046, section 5.1.1
SHORT_BYTES = 1024 * 1024  # from here on Python lets other threads run while it joins
STEP_BYTES = 32 * 1024  # at most two milliseconds of the event loop, when it is a list of numbers
TURN_SECONDS = 0.001
"""After this the others have their turn, of which each costs 20 µs."""


class Media(NamedTuple):
    """What the Content-Type says."""

    form: Literal["json", "image", "multipart"]
    boundary: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """What a request's headers say of its body."""

    content_type: bytes
    gzipped: bool
    declared_bytes: int | None


def read_head(headers: Mapping[bytes, bytes]) -> Head:
    """Judge the headers, whose names are in lower case. Raises ScoringError `unsupported-media-type`."""
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"gzip", b"x-gzip"):
        raise ScoringError(
            "unsupported-media-type",
            f"The header Content-Encoding is {_shown(encoding)}: compress the body with gzip or not at all.",
        )
    length = headers.get(b"content-length")
    return Head(
        content_type=headers.get(b"content-type", b""),
        gzipped=encoding != b"identity",
        declared_bytes=None if length is None else int(length),
    )


@lru_cache(maxsize=64)
def read_media(content_type: bytes) -> Media:
    """Judge a Content-Type. Raises ScoringError `unsupported-media-type`."""
    media_type, options = parse_options_header(content_type)
    charset = options.get(b"charset", b"utf-8").lower()
    if media_type == b"application/json" and charset in (b"utf-8", b"utf8"):
        return Media("json")
    if media_type.startswith(b"image/"):
        return Media("image")
    boundary = options.get(b"boundary", b"")
    if media_type == b"multipart/form-data" and 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        return Media("multipart", boundary)
    raise ScoringError(
        "unsupported-media-type", f"The header Content-Type is {_shown(content_type)}: send {READ_TYPES}."
    )


def _shown(header: bytes) -> str:
    return repr(header[:100].decode("latin-1"))


async def read_body(receive: Receive, head: Head, max_bytes: int, share: Share) -> bytes:
    """The whole body, inflated; see `read_pieces` for the errors."""
    pieces: list[bytes] = []
    await read_pieces(receive, head, max_bytes, share, take=pieces.append)
    return await joined(pieces)


async def joined(pieces: list[bytes]) -> bytes:
    """The pieces as one, and the list empty. Many bytes are copied on another thread, which lets this one go on."""
    if (size := sum(map(len, pieces))) <= SHORT_BYTES:
        whole = b"".join(pieces)
        if size > WHOLE_BYTES:
            await asyncio.sleep(0)  # a form may have many
    else:
        whole = await asyncio.to_thread(b"".join, pieces)
    pieces.clear()
    return whole


async def read_pieces(
    receive: Receive,
    head: Head,
    max_bytes: int,
    share: Share,
    *,
    take: Callable[[bytes], object],
    whole_bytes: int = WHOLE_BYTES,
) -> None:
    """Hand the body, inflated, to `take` as it arrives; from `whole_bytes` on in steps between which others run.

    Raises ScoringError: `payload-too-large` once its declared, received or inflated length passes `max_bytes`;
    `overloaded` when `share` cannot hold it; `invalid-request` for a broken gzip. Raises ClientDisconnect.
    """
    _check_size(head.declared_bytes or 0, max_bytes)
    if not head.gzipped:
        share.grow_to(head.declared_bytes or 0)
    inflater = Inflater() if head.gzipped else None
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        data: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        for piece in (data,) if inflater is None else inflater.inflate(data):
            size += len(piece)
            _check_size(size, max_bytes)
            share.grow_to(size)
            if size <= whole_bytes:
                take(piece)
            else:
                await _take_in_steps(take, piece)
            if inflater is not None:
                await asyncio.sleep(0)  # let the others run: a hundred such pieces may come out of one that arrived
    if inflater is not None:
        inflater.finish()


async def _take_in_steps(take: Callable[[bytes], object], piece: bytes) -> None:
    began = time.perf_counter()
    for start in range(0, len(piece), STEP_BYTES):
        take(piece[start : start + STEP_BYTES])
        if time.perf_counter() - began > TURN_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ScoringError(
            "payload-too-large",
            f"The limit is {max_bytes} bytes in a request: send the list in parts or smaller images.",
        )


class Inflater:
    """Opens one gzip member in short steps, so that a bomb costs neither memory nor the event loop."""

    def __init__(self) -> None:
        self._unpacker = Unpacker(gzip_only=True)

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """Pieces of about a millisecond's work. Raises ScoringError `invalid-request`."""
        try:
            yield from self._unpacker.unpacked(data)
        except PackingError:
            raise self._refusal("not gzip, or damaged") from None
        if self._unpacker.is_followed:
            raise self._refusal("followed by other bytes")

    def finish(self) -> None:
        """Raises ScoringError `invalid-request` when the end has not come."""
        if not self._unpacker.is_whole:
            raise self._refusal("cut short")

    def _refusal(self, fault: str) -> ScoringError:
        return ScoringError("invalid-request", f"The Content-Encoding is gzip, but the body is {fault}.")
