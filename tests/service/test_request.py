import base64
import textwrap
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.errors import ImageTooLarge
from service.base64_text import image_bytes
from service.errors import ScoringError
from service.json_body import WHOLE_BYTES, JsonBody
from service.query import check_no_query, parse_query
from service.request import BodyParser, Item, Parameters, Url
from tests.images import photo

PNG = photo(37, 29, form="PNG")
CLEAN = base64.b64encode(PNG).decode()
PARSER = BodyParser(max_items=4)
MAX_BYTES = 10_000


def parsed(body: bytes, piece_bytes: int = 100_000, whole_bytes: int = WHOLE_BYTES) -> list[Item]:
    """The items of a body that comes in pieces."""
    json = JsonBody(max_items=4, whole_bytes=whole_bytes)
    for start in range(0, len(body), piece_bytes):
        json.write(body[start : start + piece_bytes])
    return PARSER.parse(json)


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
    assert image_bytes(text, MAX_BYTES) == PNG


@pytest.mark.parametrize("length", range(1, 8))
def test_no_length_of_bytes_is_changed_by_the_form_of_the_2018_client(length: int) -> None:
    data = bytes(range(250, 250 - length, -1))
    assert image_bytes(str(base64.b64encode(data)), MAX_BYTES) == data


@pytest.mark.parametrize("text", ["", "====", "b''", '""', "data:image/png;base64,", "   "])
def test_empty_base64_is_an_undecodable_image(text: str) -> None:
    with pytest.raises(ScoringError, match="empty") as caught:
        image_bytes(text, MAX_BYTES)
    assert caught.value.kind == "undecodable-image"


@pytest.mark.parametrize("text", ["not base64!", CLEAN[:-3] + "é==", "b'" + CLEAN, "AAAAA", "A" * 40 + "=" + "A" * 40])
def test_text_that_is_not_base64_is_refused_rather_than_guessed(text: str) -> None:
    with pytest.raises(ScoringError, match="not base64") as caught:
        image_bytes(text, MAX_BYTES)
    assert caught.value.kind == "undecodable-image"


def test_a_list_and_a_bare_object_are_both_read() -> None:
    (item,) = parsed(b' {"image_url": "https://a/b.jpg"}')
    first, second = parsed(
        b'[{"image_in_base64": "AA", "parameters": {"add_softmax": true, "top_k": 2, "image_resize_dims": [224, 224]}},'
        b'{"image_in_base64": "BB", "parameters": {}}]'
    )
    assert (item.image, first.image) == (Url("https://a/b.jpg"), "AA")
    assert (first.parameters.add_softmax, first.parameters.top_k, second.parameters.add_softmax) == (True, 2, False)


def test_a_byte_order_mark_is_read_over() -> None:
    assert len(parsed('\ufeff[{"image_url": "x"}]'.encode())) == 1


def test_of_repeated_keys_the_last_wins() -> None:
    (item,) = parsed(b'{"image_url": "a", "image_url": "b"}')
    assert item.image == Url("b")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "malformed-json", "EOF"),
        (b"\x80\x81\x82\xff", "malformed-json", ""),
        (b"[" * 100_000, "malformed-json", "limit of 200"),
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
        parsed(body)
    assert caught.value.kind == kind
    assert words in caught.value.detail
    assert len(caught.value.detail) < 500


def test_a_refusal_never_repeats_the_content() -> None:
    secret = "c2VjcmV0" * 100
    with pytest.raises(ScoringError) as caught:
        parsed(f'[{{"image_in_base64": ["{secret}"]}}]'.encode())
    assert "c2VjcmV0" not in caught.value.detail


def test_base64_over_the_limit_of_an_image_is_refused_before_it_is_opened() -> None:
    assert len(image_bytes("A" * 400, 300)) == 300
    with pytest.raises(ImageTooLarge, match="limit is 300 bytes"):
        image_bytes("!" * 404, 300)


def test_a_body_of_many_small_values_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ScoringError, match="limit is 4 images"):
        parsed(b"[" + b"0," * 2_000_000 + b"0]")


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_the_parser_fail_otherwise_than_with_its_own_short_error(body: bytes) -> None:
    for text in (body, b"[" + body + b"]", b'[{"image_url": "' + body + b'"}]', b'{"parameters": ' + body + b"}"):
        refusal = refused(parsed, text)
        assert refusal is None or refusal.kind in ("malformed-json", "invalid-request")
        assert refusal is None or len(refusal.detail) < 500


def refused(parse: Callable[[bytes], object], text: bytes) -> ScoringError | None:
    try:
        parse(text)
    except ScoringError as error:
        return error
    return None


def test_query_parameters_are_those_of_an_item() -> None:
    assert parse_query(b"") == Parameters()
    assert parse_query(b"add_softmax=true&top_k=2&image_resize_dims=224,112") == Parameters(
        add_softmax=True, top_k=2, image_resize_dims=(224, 112)
    )
    assert parse_query(b"image_resize_dims=224%2C112").image_resize_dims == (224, 112)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (b"aply_softmax=true", "Unknown query parameter: aply_softmax"),
        (b"top_k=1&top_k=2", "top_k is repeated"),
        (b"add_softmax=yes", "Query parameter add_softmax"),
        (b"add_softmax=", "Query parameter add_softmax"),
        (b"add_softmax", "Query parameter add_softmax"),
        (b"add_softmax=1", "Query parameter add_softmax"),
        (b"top_k=0", "Query parameter top_k"),
        (b"top_k=1.5", "Query parameter top_k"),
        (b"top_k=NaN", "Query parameter top_k"),
        (b"top_k=" + b"9" * 5000, "Query parameter top_k"),
        (b"top_k=" + b"[" * 5000, "Query parameter top_k"),
        (b"image_resize_dims=224", "Query parameter image_resize_dims"),
        (b"image_resize_dims=224,112,3", "Query parameter image_resize_dims"),
        (b"image_resize_dims=224],[112", "Query parameter image_resize_dims"),
        (b"&".join(b"a%d=1" % n for n in range(17)), "limit is 16 query parameters"),
        (b"\xff\x80=1&" + b"x" * 5000, "Unknown query parameter"),
    ],
)
def test_a_wrong_query_is_refused_with_the_parameters_name(query: bytes, words: str) -> None:
    with pytest.raises(ScoringError) as caught:
        parse_query(query)
    assert caught.value.kind == "invalid-request"
    assert words in caught.value.detail
    assert len(caught.value.detail) < 400


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_query_fails_otherwise_than_with_its_own_short_error(query: bytes) -> None:
    for text in (query, b"top_k=" + query, b"image_resize_dims=" + query, b"add_softmax=" + query):
        refusal = refused(parse_query, text)
        assert refusal is None or len(refusal.detail) < 400


def test_beside_a_json_body_a_query_is_refused_with_the_place_where_parameters_belong() -> None:
    check_no_query(b"")
    with pytest.raises(ScoringError, match=r"add_softmax.*item's parameters"):
        check_no_query(b"add_softmax=true")
