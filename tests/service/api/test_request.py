import base64
import textwrap
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.artifact.errors import ImageTooLarge
from service.api.json_body import WHOLE_BYTES, JsonBody
from service.api.query import check_no_query, parse_query
from service.api.request import BodyParser, Item, Parameters, Url
from service.errors import ScoringError
from service.scoring.encoded import LongText, image_bytes
from tests.support.images import photo

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
        f"  {CLEAN} ",
        f"data:image/png;base64, {CLEAN}",
        "\n\t".join(textwrap.wrap(CLEAN, 60)),
        f"\r\n{CLEAN}\r\n",
        CLEAN.replace("+", "-"),
        f"{CLEAN}==",
    ],
)
def test_every_form_of_base64_that_clients_send_gives_the_same_bytes(text: str) -> None:
    assert image_bytes(text, MAX_BYTES) == PNG


JPEGS = [photo(width, height, form="JPEG") for width, height in ((64, 48), (37, 29), (120, 90))]
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "without padding": lambda text: text.rstrip("="),
    "in lines": lambda text: "\r\n".join(textwrap.wrap(text, 76)),
    "in lines of 4": lambda text: "\n".join(textwrap.wrap(text, 4)),
    "as a data URI": lambda text: f"data:image/jpeg;base64,{text}",
    "in quotes": lambda text: f'"{text}"',
    "of Python": lambda text: f"b'{text}'",
}


def opened(text: str) -> list[bytes | None]:
    """As it is opened whole, and as a long text in blocks; None where it is refused."""

    def one(form: str | LongText) -> bytes | None:
        try:
            return image_bytes(form, 1_000_000)
        except ScoringError:
            return None

    data = text.encode()
    return [one(text), *(one(LongText(blocks_of(data, size))) for size in (4, 400))]


def blocks_of(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("form", FORMS)
def test_a_plus_that_became_a_blank_on_the_way_is_never_read_over(form: str) -> None:
    """A form's decoder does that, for all of them or where a proxy decodes once more."""
    for data in (*JPEGS, PNG):
        text = FORMS[form](base64.b64encode(data).decode())
        assert opened(text) == [data] * 3
        places = [place for place, character in enumerate(text) if character == "+"]
        assert places
        for place in places:
            assert opened(text[:place] + " " + text[place + 1 :]) == [None] * 3
        assert opened(text.replace("+", " ")) == [None] * 3
        assert opened(urllib.parse.unquote_plus(text)) == [None] * 3


@given(st.binary(max_size=400), st.sampled_from(sorted(FORMS)), st.integers(0, 4))
def test_bytes_whose_base64_lost_its_plus_signs_are_refused_or_the_same(data: bytes, form: str, ends: int) -> None:
    """Also where they were at the end."""
    data = b"\xff\xd8\xff" + data + b"\xfb\xef\xbe\xfb"[:ends]
    text = FORMS[form](base64.b64encode(data).decode())
    assert opened(text) == [data] * 3
    lost = text.replace("+", " ")
    if form != "without padding" or not lost.endswith(" "):
        assert set(opened(lost)) <= {data, None}


def test_blanks_behind_the_text_are_white_space_only_where_it_is_whole_without_them() -> None:
    """'AAA+' at the end of a file gives 'AAA ', which is one byte less without its blank."""
    for text, size in (("AAAA ", 3), ("    AAAA\n", 3), ("AAA=    ", 2), (" AAA= ", 2), ("'AAAA' ", 3), ("  AAA", 2)):
        assert opened(text) == [bytes(size)] * 3
    for text in ("AAA ", "'AAA '", "AA =", "AA= =", "AA  ", "AAAA    ", "AA AA", "AAAA AAAA", "data:,AAA "):
        assert opened(text) == [None] * 3


def test_a_refused_blank_says_where_the_plus_may_have_gone() -> None:
    with pytest.raises(ScoringError, match="%2B"):
        image_bytes(CLEAN[:40] + " " + CLEAN[41:], MAX_BYTES)


@pytest.mark.parametrize("length", range(1, 8))
def test_no_length_of_bytes_is_changed_by_the_form_of_the_2018_client(length: int) -> None:
    data = bytes(range(250, 250 - length, -1))
    assert image_bytes(str(base64.b64encode(data)), MAX_BYTES) == data


@pytest.mark.parametrize("text", ["", "====", "b''", '""', "data:image/png;base64,", "   "])
def test_empty_base64_is_an_undecodable_image(text: str) -> None:
    with pytest.raises(ScoringError, match="empty") as caught:
        image_bytes(text, MAX_BYTES)
    assert caught.value.kind == "undecodable-image"


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        CLEAN[:-3] + "é==",
        "b'" + CLEAN,
        "AAAAA",
        "A" * 40 + "=" + "A" * 40,
        CLEAN + CLEAN,
        "AAA=\nAAA=",
        "AA%2BA",
        "AA%20A",
        "AA\u00a0A",
        "AA\0A",
        "data:image/png" + CLEAN,
        "data:" + "A" * 2000,
        " ".join(textwrap.wrap(CLEAN, 76)),
        " \n".join(textwrap.wrap(CLEAN, 76)),
    ],
)
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
        (b'{"image_url": "data:image/png;base64,' + b"A" * 9000 + b'"}', "invalid-request", "image_in_base64"),
        (b'{"image_url": "data:image/png;base64,' + b"A" * 300_000 + b'"}', "invalid-request", "image_in_base64"),
    ],
)
def test_a_wrong_body_is_refused_with_its_kind_and_place(body: bytes, kind: str, words: str) -> None:
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
