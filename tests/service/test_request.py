import base64
import textwrap

import pytest

from service.errors import ScoringError
from service.request import BodyParser, image_bytes
from tests.images import photo

PNG = photo(37, 29, form="PNG")
CLEAN = base64.b64encode(PNG).decode()
PARSER = BodyParser(max_items=4)


@pytest.mark.parametrize(
    "text",
    [
        CLEAN,
        str(base64.b64encode(PNG)),
        f'"{CLEAN}"',
        f"'{CLEAN}'",
        f"data:image/png;base64,{CLEAN}",
        f"data:image/jpeg;base64,{CLEAN}",
        f"DATA:image/png;base64,{CLEAN}",
        CLEAN.rstrip("="),
        "\n".join(textwrap.wrap(CLEAN, 76)),
        "\r\n".join(textwrap.wrap(CLEAN, 76)),
        base64.urlsafe_b64encode(PNG).decode(),
        f"  b'{CLEAN}'\n",
    ],
)
def test_every_form_of_base64_that_clients_send_gives_the_same_bytes(text: str) -> None:
    """RQ01, RQ02."""
    assert image_bytes(text) == PNG


@pytest.mark.parametrize("length", range(1, 8))
def test_no_length_of_bytes_is_changed_by_the_form_of_the_2018_client(length: int) -> None:
    data = bytes(range(250, 250 - length, -1))
    assert image_bytes(str(base64.b64encode(data))) == data


@pytest.mark.parametrize("text", ["", "====", "b''", '""', "data:image/png;base64,", "   "])
def test_empty_base64_is_an_undecodable_image(text: str) -> None:
    with pytest.raises(ScoringError, match="empty") as caught:
        image_bytes(text)
    assert caught.value.kind == "undecodable-image"


@pytest.mark.parametrize("text", ["not base64!", CLEAN[:-3] + "é==", "b'" + CLEAN, "AAAAA", "A" * 40 + "=" + "A" * 40])
def test_text_that_is_not_base64_is_refused_rather_than_guessed(text: str) -> None:
    with pytest.raises(ScoringError, match="not base64") as caught:
        image_bytes(text)
    assert caught.value.kind == "undecodable-image"


def test_a_list_and_a_bare_object_are_both_read() -> None:
    (item,) = PARSER.parse(b' {"image_url": "https://a/b.jpg"}')
    first, second = PARSER.parse(
        b'[{"image_in_base64": "AA", "parameters": {"add_softmax": true, "top_k": 2, "image_resize_dims": [224, 224]}},'
        b'{"image_in_base64": "BB", "parameters": {}}]'
    )
    assert item.image_url == "https://a/b.jpg"
    assert (first.parameters.add_softmax, first.parameters.top_k, second.parameters.add_softmax) == (True, 2, False)


def test_a_byte_order_mark_is_read_over() -> None:
    assert len(PARSER.parse('\ufeff[{"image_url": "x"}]'.encode())) == 1


def test_of_repeated_keys_the_last_wins() -> None:
    (item,) = PARSER.parse(b'{"image_url": "a", "image_url": "b"}')
    assert item.image_url == "b"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "malformed-json", "EOF"),
        (b"\x80\x81\x82\xff", "malformed-json", ""),
        (b"[" * 100_000, "malformed-json", "recursion limit"),
        (b'{"images": [NaN]}', "invalid-request", "images"),
        (b"[]", "invalid-request", "list is empty"),
        (b'"text"', "invalid-request", "list"),
        (b"[{}]", "invalid-request", "exactly one of image_in_base64 and image_url"),
        (b'[{"image_url": "a", "image_in_base64": "b"}]', "invalid-request", "exactly one"),
        (b'[{"image_url": "a", "parameters": {"aply_softmax": true}}]', "invalid-request", "aply_softmax"),
        (b'[{"image_url": "a", "parameters": {"add_softmax": "yes"}}]', "invalid-request", "add_softmax"),
        (b'[{"image_url": "a", "parameters": {"top_k": 0}}]', "invalid-request", "top_k"),
        (b'[{"image_url": "a"}, {"image_url": 5}]', "invalid-request", "item 1, image_url"),
        (b'[{"image_url": "a", "parameters": null}]', "invalid-request", "parameters"),
        (b"[" + b'{"image_url": "a"},' * 4 + b'{"image_url": "a"}]', "invalid-request", "limit is 4 images"),
        (b"[" + b"1," * 5000 + b"1]", "invalid-request", "limit is 4 images"),
    ],
)
def test_a_wrong_body_is_refused_with_its_kind_and_place(body: bytes, kind: str, words: str) -> None:
    """RQ05, RQ09."""
    with pytest.raises(ScoringError) as caught:
        PARSER.parse(body)
    assert caught.value.kind == kind
    assert words in caught.value.detail
    assert len(caught.value.detail) < 500


def test_a_refusal_never_repeats_the_content() -> None:
    secret = "c2VjcmV0" * 100
    with pytest.raises(ScoringError) as caught:
        PARSER.parse(f'[{{"image_in_base64": ["{secret}"]}}]'.encode())
    assert "c2VjcmV0" not in caught.value.detail
