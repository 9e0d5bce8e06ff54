"""Long texts and lists that are cut out of a body, wherever its pieces end, are what a parser of the whole gives."""

import base64
import json
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from salver.artifact.manifest import PixelSpec
from service.api.json_body import LONG_BYTES, JsonBody
from service.api.request import BodyParser, Url
from service.api.v2.request import InferBody
from service.errors import ScoringError
from service.scoring.encoded import LongText, image_bytes
from tests.support.images import photo

PHOTO = photo(400, 300, form="PNG")
TEXT = base64.b64encode(PHOTO).decode()
SPEC = PixelSpec(height=64, width=64, resize="stretch")
MOST = 10**8
PIECES = (1_000_000, 65_536, 4_097, 1_009)


def cut(body: bytes, piece_bytes: int, max_items: int = 4) -> JsonBody:
    """The body as it is cut when it is long."""
    taken = JsonBody(max_items, whole_bytes=0)
    for start in range(0, len(body), piece_bytes):
        taken.write(body[start : start + piece_bytes])
    return taken


def refusal(body: bytes, piece_bytes: int = 10_000) -> ScoringError:
    with pytest.raises(ScoringError) as caught:
        BodyParser(4).parse(cut(body, piece_bytes))
    assert len(caught.value.detail) < 500
    return caught.value


def written() -> Iterator[str]:
    """The text as JSON, in the forms that clients write it."""
    yield json.dumps(TEXT)
    yield json.dumps(TEXT).replace("/", "\\/")  # PHP
    yield json.dumps(TEXT).replace("+", "\\u002B").replace("=", "\\u003d")  # .NET, Gson
    yield json.dumps("\r\n".join(textwrap.wrap(TEXT, 76)))
    yield json.dumps(f'"{TEXT}"')
    yield json.dumps(f"data:image/png;base64,{TEXT}")
    yield json.dumps(str(base64.b64encode(PHOTO)))
    yield json.dumps(base64.urlsafe_b64encode(PHOTO).decode().rstrip("="))
    yield '"' + "".join(f"\\u{ord(letter):04x}" for letter in TEXT) + '"'
    yield '"' + " " * 20_000 + TEXT + "\\t" * 10_000 + '"'


@pytest.mark.parametrize("text", list(written()), ids=range(10))
@pytest.mark.parametrize("piece_bytes", PIECES)
def test_every_form_of_a_long_base64_text_gives_the_same_bytes_in_any_pieces(text: str, piece_bytes: int) -> None:
    item = f'{{"image_in_base64": {text}, "parameters": {{"top_k": 2}}}}'
    body = f' [{item}, {{"image_url": "https://a/\\"b\\\\"}}, {item} ]\n'.encode()
    first, url, second = BodyParser(4).parse(cut(body, piece_bytes))
    assert url.image == Url('https://a/"b\\')
    assert isinstance(first.image, LongText)
    assert isinstance(second.image, LongText)
    assert image_bytes(first.image, MOST) == image_bytes(second.image, MOST) == PHOTO
    assert first.parameters.top_k == 2


@pytest.mark.parametrize("text", ["\U0001f600" + "A" * 20_000, "A" * 20_000 + "é", "A" * 20_000 + "\\ud83d\\ude00"])
def test_of_a_text_that_is_not_ascii_nothing_is_kept_and_the_other_images_are_read(text: str) -> None:
    body = f'[{{"image_in_base64": "{text}"}}, {{"image_in_base64": {json.dumps(TEXT)}}}]'.encode()
    bad, good = BodyParser(4).parse(cut(body, 5_000))
    assert bad.image == LongText(None)
    assert isinstance(good.image, LongText)
    assert image_bytes(good.image, MOST) == PHOTO
    (short,) = BodyParser(4).parse(cut('{"image_in_base64": "AAAé"}'.encode(), 5))
    for image in (bad.image, short.image):
        assert isinstance(image, LongText)
        with pytest.raises(ScoringError, match="not base64"):
            image_bytes(image, MOST)


LONG = b'"' + b"A" * 20_000 + b'"'


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b'{"image_url": ' + LONG + b"}", "invalid-request", "stands where no image's base64 belongs"),
        (b'{"image_url": "' + b"a" * (LONG_BYTES + 1) + b'"}', "invalid-request", "stands where"),
        (b'{"image_in_base64": "AA", ' + LONG + b": 1}", "invalid-request", "Unknown field"),
        (b'{"image_in_base64": [' + LONG + b"]}", "invalid-request", "image_in_base64"),
        (b'{"image_in_base64": "A' + b"\n" * 20_000 + b'"}', "malformed-json", "control character"),
        (b'{"image_in_base64": "A' + b"\\q" * 20_000 + b'"}', "malformed-json", "escape"),
        (b'{"image_in_base64": "A' + b"\\\\" * 20_000 + b'"', "malformed-json", "EOF"),
        (b'{"image_in_base64": ' + LONG[:-1], "malformed-json", "EOF"),
        (b'{"image_in_base64": ' + LONG[:-1] + b"\\u00", "malformed-json", ""),
        (LONG, "invalid-request", "list"),
        (b"[" + b'"",' * 10_000 + b'""]', "invalid-request", "limit is 4 images"),
        (b"[" + b" " * 2_000_000 + b"]", "payload-too-large", "limit is 4 images"),
        (b"[" + b"{}," * 200_000 + b"{}]", "invalid-request", "limit is 4 images"),
        (b"[" * 500_000, "malformed-json", "limit of 200"),
    ],
    ids=range(14),
)
def test_what_is_long_and_wrong_is_refused_with_its_kind(body: bytes, kind: str, words: str) -> None:
    for piece_bytes in (100_000, 999):
        error = refusal(body, piece_bytes)
        assert error.kind == kind
        assert words in error.detail


def infer(
    data: str, shape: list[int], piece_bytes: int, datatype: str = "UINT8", name: str = "pixels"
) -> NDArray[np.uint8]:
    """What the tensor's images are."""
    text = (
        f'{{"inputs": [{{"name": "{name}", "shape": {shape}, "data": {data}, "datatype": "{datatype}"}}], "id": "7"}}'
    )
    for ordered in (text, text.replace(f', "data": {data}', "").replace('"}], "id"', f'", "data": {data} }} ] , "id"')):
        body = InferBody(8, None)
        for start in range(0, len(ordered), piece_bytes):
            body.write(ordered.encode()[start : start + piece_bytes])
        images = body.parse().images(body.json, b"", SPEC, 8)
    return np.array(images)


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3))


@pytest.mark.parametrize("piece_bytes", PIECES)
@pytest.mark.parametrize("indent", [None, 0])
def test_a_long_list_of_numbers_is_the_same_in_any_pieces_flat_or_nested(piece_bytes: int, indent: int | None) -> None:
    for array in (PIXELS, PIXELS.ravel()):
        data = json.dumps(array.tolist(), indent=indent)
        assert np.array_equal(infer(data, [2, 64, 64, 3], piece_bytes), PIXELS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace(", 7,", ", 256,", 1), "0 to 255"),
        (lambda text: text.replace(", 7,", ", -1,", 1), "0 to 255"),
        (lambda text: text.replace(", 7,", ", 0.5,", 1), "whole numbers"),
        (lambda text: text.replace(", 7,", ", 7 7,", 1), "whole numbers"),
        (lambda text: text.replace(", 7,", ", 7,,", 1), "whole numbers"),
        (lambda text: text.replace(", 7,", ", [7],", 1), "values of the shape"),
        (lambda text: text.replace(", 7,", ",", 1), "values of the shape"),
        (lambda text: text[:-1] + ",]", "whole numbers"),
        (lambda text: text.replace(", 7,", ", " + "1" * 20_000 + ",", 1), "whole numbers"),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_long_list_that_is_wrong_is_refused(change: object, words: str) -> None:
    assert callable(change)
    data = change(json.dumps(PIXELS.ravel().tolist()))
    with pytest.raises(ScoringError, match=words):
        infer(data, [2, 64, 64, 3], 10_000)


def test_long_images_of_the_open_inference_protocol_are_cut_out_too() -> None:
    text = json.dumps({"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": [TEXT, "AA"]}]}).encode()
    body = InferBody(8, None)
    body.write(text)
    long, short = body.parse().images(body.json, b"", SPEC, 8)
    assert isinstance(long, LongText)
    assert (image_bytes(long, MOST), short) == (PHOTO, "AA")


def test_a_long_id_or_a_long_text_for_others_is_refused() -> None:
    for place in ("id", "model_name"):
        for length in (257, 100_000):
            body = InferBody(8, None)
            tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["AA"]}
            body.write(json.dumps({place: "A" * length, "inputs": [tensor]}).encode())
            with pytest.raises(ScoringError):
                body.parse().images(body.json, b"", SPEC, 8)
