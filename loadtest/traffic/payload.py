"""The requests: every body is made once, before the run, and sent again and again."""

import base64
import json
import random
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from loadtest.errors import LoadTestError
from loadtest.traffic.photos import Photo

LIST_IMAGES = 8
LARGEST_IN_LIST = 3 * 2**19
"""Bytes; eight larger ones would be over the service's limit of a body as base64."""
JSON = {"Content-Type": "application/json"}


class Kind(StrEnum):
    """A kind of request; the value is also its name in every statistic, whatever the payload is."""

    BASE64 = "base64"
    LIST = "list"
    RAW = "raw"
    URL = "url"
    BROKEN = "broken"

    @property
    def label(self) -> str:
        """Its name in the statistics."""
        return TITLES[self]


TITLES = {
    Kind.BASE64: "base64, one image",
    Kind.LIST: f"base64, {LIST_IMAGES} images",
    Kind.RAW: "raw image",
    Kind.URL: "image URL",
    Kind.BROKEN: "broken image, refused",
}


@dataclass(frozen=True)
class Refusal:
    """The error that a broken image must get."""

    status: int
    type: str


@dataclass(frozen=True)
class Payload:
    """One request, ready to send, and what its answer must be like."""

    kind: Kind
    path: str
    headers: Mapping[str, str]
    body: bytes
    photos: tuple[int, ...] = ()
    """The place of each image in the pool, in order."""
    softmax: bool = False
    refusal: Refusal | None = None


class Payloads:
    """All payloads of a pool, chosen at random by the weights of their photos."""

    def __init__(self, photos: Sequence[Photo], kinds: Sequence[Kind], urls: Sequence[str], seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311
        makers = {
            Kind.BASE64: lambda: _singles(photos),
            Kind.LIST: lambda: _lists(photos),
            Kind.RAW: lambda: _raws(photos),
            Kind.URL: lambda: _urls(photos, urls),
            Kind.BROKEN: lambda: _broken(photos),
        }
        self._weighted = {kind: tuple(zip(*makers[kind](), strict=True)) for kind in kinds}

    def choose(self, kind: Kind) -> Payload:
        """A payload of that kind."""
        payloads, weights = self._weighted[kind]
        payload: Payload = self._random.choices(payloads, weights)[0]
        return payload


Weighted = Iterator[tuple[Payload, float]]


def _item(data: bytes, *, softmax: bool) -> dict[str, object]:
    return {"image_in_base64": base64.b64encode(data).decode(), "parameters": {"add_softmax": softmax}}


def _json(items: Sequence[dict[str, object]]) -> bytes:
    return json.dumps(items).encode()


def _singles(photos: Sequence[Photo]) -> Weighted:
    for place, photo in enumerate(photos):
        for softmax in (False, True):
            body = _json([_item(photo.data, softmax=softmax)])
            yield Payload(Kind.BASE64, "/score", JSON, body, (place,), softmax), photo.weight


def _lists(photos: Sequence[Photo]) -> Weighted:
    """Each begins at another image, so that an image stands at several places."""
    small = [place for place, photo in enumerate(photos) if len(photo.data) <= LARGEST_IN_LIST]
    if not small:
        raise LoadTestError(
            f"No image is under {LARGEST_IN_LIST} bytes, so {LIST_IMAGES} do not fit in a request: "
            "leave 'list' out of --mix."
        )
    for start in range(0, len(small), max(1, len(small) // 8)):
        places = tuple(small[(start + step) % len(small)] for step in range(LIST_IMAGES))
        for softmax in (False, True):
            body = _json([_item(photos[place].data, softmax=softmax) for place in places])
            yield Payload(Kind.LIST, "/score", JSON, body, places, softmax), 1.0


def _raws(photos: Sequence[Photo]) -> Weighted:
    for place, photo in enumerate(photos):
        for softmax in (False, True):
            path = f"/score?add_softmax={str(softmax).lower()}"
            headers = {"Content-Type": photo.media_type}
            yield Payload(Kind.RAW, path, headers, photo.data, (place,), softmax), photo.weight


def _urls(photos: Sequence[Photo], urls: Sequence[str]) -> Weighted:
    for place, (photo, url) in enumerate(zip(photos, urls, strict=True)):
        for softmax in (False, True):
            body = _json([{"image_url": url, "parameters": {"add_softmax": softmax}}])
            yield Payload(Kind.URL, "/score", JSON, body, (place,), softmax), photo.weight


def _broken(photos: Sequence[Photo]) -> Weighted:
    """A photo that was cut off, and a small file whose header promises 4 gigapixels."""
    whole = min(photos, key=lambda photo: len(photo.data)).data
    undecodable = Refusal(422, "urn:salver:undecodable-image")
    yield (
        Payload(
            Kind.BROKEN, "/score", JSON, _json([_item(whole[: len(whole) // 2], softmax=False)]), refusal=undecodable
        ),
        3.0,
    )
    too_large = Refusal(413, "urn:salver:image-too-large")
    yield Payload(Kind.BROKEN, "/score", JSON, _json([_item(_bomb(), softmax=False)]), refusal=too_large), 1.0


def _bomb() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
