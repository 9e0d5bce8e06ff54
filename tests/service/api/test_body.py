"""Every way in, and what is refused before it costs anything."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.caller import Caller
from tests.support.images import photo, solid
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

RED, GREEN = solid((200, 30, 40)), solid((20, 180, 60))
MAX_BODY_BYTES, MAX_IMAGE_BYTES = 1_000_000, 400_000
JSON_TYPE = {"Content-Type": "application/json"}
FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=edge"}


def json_body(*images: bytes) -> bytes:
    return json.dumps([{"image_in_base64": base64.b64encode(image).decode()} for image in images]).encode()


def file_part(data: bytes, name: str = "file", boundary: bytes = b"edge") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'.encode()
    return b"--" + boundary + b"\r\n" + head + data + b"\r\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[httpx.Client]:
    with running_service(
        model, max_body_bytes=MAX_BODY_BYTES, max_image_bytes=MAX_IMAGE_BYTES, max_items=4, api_keys="key"
    ) as client:
        client.headers["Authorization"] = "Bearer key"
        yield client


@pytest.fixture(scope="module")
def scored(client: httpx.Client) -> list[dict[str, object]]:
    """The answers for red and green, sent as JSON."""
    answer: list[dict[str, object]] = client.post("/score", content=json_body(RED, GREEN), headers=JSON_TYPE).json()
    return answer


def test_the_bytes_of_one_file_are_scored_like_its_base64(
    client: httpx.Client, scored: list[dict[str, object]]
) -> None:
    for content_type in ("image/png", "image/jpeg", "IMAGE/PNG; name=x"):
        assert client.post("/score", content=RED, headers={"Content-Type": content_type}).json() == scored[:1]


def test_the_files_of_a_form_are_scored_in_order_whatever_their_fields_are_called(
    client: httpx.Client, scored: list[dict[str, object]]
) -> None:
    answer = client.post("/score", files=[("b", ("2.png", RED)), ("a", ("1.png", GREEN))])
    assert answer.json() == scored
    same_name = client.post("/score", files=[("file", ("x", RED)), ("file", ("x", b"broken")), ("", ("x", GREEN))])
    first, broken, last = same_name.json()
    assert [first, last] == scored
    assert broken["error"]["type"] == "urn:salver:undecodable-image"


def test_a_form_in_small_pieces_is_the_same_form(client: httpx.Client, scored: list[dict[str, object]]) -> None:
    body = file_part(RED) + file_part(GREEN) + b"--edge--\r\n"
    pieces = (body[at : at + 1] for at in range(len(body)))
    assert client.post("/score", content=pieces, headers=FORM_TYPE).json() == scored


def test_query_parameters_hold_for_every_file(client: httpx.Client) -> None:
    query = "/score?add_softmax=true&top_k=2&image_resize_dims=32,32"
    (raw,) = client.post(query, content=RED, headers={"Content-Type": "image/png"}).json()
    form = client.post(query, files=[("a", ("1", RED)), ("b", ("2", RED))]).json()
    assert form == [raw, raw]
    assert len(raw["top"]) == 2
    assert 0 < raw["score"] < 0.2


def test_every_form_may_be_compressed_with_gzip(client: httpx.Client, scored: list[dict[str, object]]) -> None:
    form = file_part(RED) + file_part(GREEN) + b"--edge--"
    for encoding in ("gzip", "GZIP", "x-gzip"):
        packed = {"Content-Encoding": encoding}
        as_json = client.post("/score", content=gzip.compress(json_body(RED, GREEN)), headers=JSON_TYPE | packed)
        as_form = client.post("/score", content=gzip.compress(form), headers=FORM_TYPE | packed)
        raw = client.post("/score", content=gzip.compress(RED), headers={"Content-Type": "image/png"} | packed)
        assert [as_json.json(), as_form.json(), raw.json()] == [scored, scored, scored[:1]]


PACKED = JSON_TYPE | {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("headers", "query", "body", "status", "words"),
    [
        (JSON_TYPE, "?add_softmax=true", json_body(RED), 422, "item's parameters"),
        ({"Content-Type": "image/png"}, "?topk=1", RED, 422, "topk"),
        ({"Content-Type": "image/png"}, "?top_k=1&top_k=1", RED, 422, "top_k is repeated"),
        ({"Content-Type": "image/png"}, "", b"", 422, "not a supported image"),
        ({"Content-Type": "image/svg+xml"}, "", b"<svg/>", 422, "not a supported image"),
        ({"Content-Type": "image/png"}, "", b"\0" * (MAX_IMAGE_BYTES + 1), 413, f"limit is {MAX_IMAGE_BYTES} bytes"),
        (FORM_TYPE, "", b"--edge--", 422, "the form is empty"),
        (FORM_TYPE, "", b"", 422, "cut short"),
        (FORM_TYPE, "", b"\x80\x81\x82\xff", 422, "multipart"),
        (FORM_TYPE, "", file_part(RED), 422, "cut short"),
        (FORM_TYPE, "", file_part(RED) * 5 + b"--edge--", 422, "limit is 4 images"),
        (FORM_TYPE, "", b'--edge\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n2', 422, "'top_k' is not"),
        (FORM_TYPE, "", b"--edge\r\n\r\nx\r\n--edge--", 422, "not a file"),
        (FORM_TYPE, "", b"--edge\r\n" + b"A: b\r\n" * 10_000, 422, "multipart"),
        (FORM_TYPE, "", b"--edge\r\nA: " + b"b" * 100_000, 422, "multipart"),
        ({"Content-Type": "multipart/form-data"}, "", b"--edge--", 415, "Content-Type"),
        ({"Content-Type": "multipart/form-data; boundary=" + "b" * 71}, "", b"", 415, "Content-Type"),
        ({"Content-Type": "application/octet-stream"}, "", RED, 415, "image/*"),
        (JSON_TYPE | {"Content-Encoding": "br"}, "", b"x", 415, "Content-Encoding"),
        (JSON_TYPE | {"Content-Encoding": "gzip, gzip"}, "", b"x", 415, "Content-Encoding"),
        (PACKED, "", json_body(RED), 422, "not gzip"),
        (PACKED, "", b"", 422, "cut short"),
        (PACKED, "", gzip.compress(json_body(RED))[:-1], 422, "cut short"),
        (PACKED, "", gzip.compress(json_body(RED)) + b"x", 422, "followed by other bytes"),
        (PACKED, "", gzip.compress(b" " * (MAX_BODY_BYTES + 1)), 413, f"limit is {MAX_BODY_BYTES} bytes"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_a_short_problem_that_says_why(
    client: httpx.Client, headers: dict[str, str], query: str, body: bytes, status: int, words: str
) -> None:
    answer = client.post(f"/score{query}", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words.lower() in answer.text.lower()
    assert len(answer.content) < 2000


def test_an_image_over_its_limit_is_its_own_error_and_the_others_are_scored(client: httpx.Client) -> None:
    large = photo(520, 500, form="PNG")
    assert MAX_IMAGE_BYTES < len(large) < MAX_BODY_BYTES / 2
    for answer in (
        client.post("/score", content=json_body(RED, large), headers=JSON_TYPE),
        client.post("/score", files=[("a", ("1", RED)), ("b", ("2", large))]),
    ):
        scored, refused = answer.json()
        assert "label" in scored
        assert refused["error"]["type"] == "urn:salver:image-too-large"
        assert f"{MAX_IMAGE_BYTES:,}" in refused["error"]["detail"]


SECRET = b"S3CRETxyzzyS3CRETxyzzy"


@given(
    st.sampled_from(["application/json", "image/png", FORM_TYPE["Content-Type"], "text/plain"]),
    st.sampled_from(["identity", "gzip"]),
    st.one_of(st.binary(max_size=200), st.from_regex(rb"(--edge(\r\n|--)?|[:;=\"]|\r\n|name|Content-){1,40}")),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_no_request_is_answered_with_a_500_or_with_what_it_held(
    client: httpx.Client, content_type: str, encoding: str, body: bytes, query: str
) -> None:
    headers = {"Content-Type": content_type, "Content-Encoding": encoding}
    for content in (SECRET + body, body + SECRET, b'[{"image_in_base64": "' + SECRET + body + b'"}]'):
        answer = client.post(f"/score?{query}", content=content, headers=headers)
        assert 400 <= answer.status_code < 500
        assert len(answer.content) < 2000
        assert SECRET not in answer.content


def test_a_body_is_refused_before_it_is_sent_where_the_head_tells(client: httpx.Client) -> None:
    length = f"Content-Length: {MAX_BODY_BYTES + 1}\r\nExpect: 100-continue\r\n"
    with Caller(client) as caller:
        caller.send(b"", length)
        assert caller.status() == 413
    with Caller(client) as caller:
        caller.send(b"", "Content-Length: 9\r\nExpect: 100-continue\r\n", key="wrong")
        assert caller.status() == 401


def test_a_caller_that_expects_100_continue_is_told_to_go_on_at_once(client: httpx.Client) -> None:
    body = json_body(RED) + b" " * 500_000
    with Caller(client) as caller:
        caller.send(b"", f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n")
        assert caller.status() == 100
        caller.socket.sendall(body)
        assert caller.status() == 200


def test_an_http_1_0_caller_gets_a_length_no_chunks_and_the_end_of_the_connection(client: httpx.Client) -> None:
    """As `ab -n 1` sends it."""
    body = json_body(RED)
    with Caller(client) as caller:
        caller.send(body, f"Content-Length: {len(body)}\r\n", protocol="HTTP/1.0")
        assert caller.status() == 200
        assert caller.header("transfer-encoding") is None
        assert caller.is_closed()


@pytest.mark.parametrize("chunked", [True, False])
def test_a_413_reaches_a_caller_that_sends_everything_before_it_reads(client: httpx.Client, chunked: bool) -> None:
    length = 20 * MAX_BODY_BYTES
    with Caller(client) as caller:
        if chunked:
            caller.send(b"", "Transfer-Encoding: chunked\r\n")
            for _ in range(20):
                caller.socket.sendall(b"%x\r\n" % MAX_BODY_BYTES + b" " * MAX_BODY_BYTES + b"\r\n")
            caller.socket.sendall(b"0\r\n\r\n")
        else:
            caller.send(b" " * length, f"Content-Length: {length}\r\n")
        assert caller.status() == 413
        assert caller.header("connection") == "close"
        assert caller.is_closed()


def test_after_a_refused_request_with_a_short_body_the_connection_is_kept(client: httpx.Client) -> None:
    body = json_body(RED)
    with Caller(client) as caller:
        for key, status in (("wrong", 401), ("key", 200), ("wrong", 401), ("key", 200)):
            caller.send(body, f"Content-Length: {len(body)}\r\n", key=key)
            assert caller.status() == status
            assert caller.header("connection") is None


def test_a_body_that_does_not_arrive_in_time_is_a_504_and_the_end_of_the_connection(model: Path) -> None:
    with running_service(model, request_timeout_seconds=0.3) as client, Caller(client) as caller:
        caller.send(b"[", "Content-Length: 100\r\n")
        assert caller.status() == 504
        assert b"did not arrive within 0.3 seconds" in caller.answer
        assert caller.is_closed()


def test_bodies_in_flight_share_a_budget_that_comes_back_when_a_caller_goes(model: Path) -> None:
    with (
        running_service(model, max_body_bytes=100_000, max_inflight_bytes=150_000) as client,
        Caller(client) as slow,
    ):
        slow.send(b"[", "Content-Length: 100000\r\nExpect: 100-continue\r\n")
        assert slow.status() == 100  # its head is judged
        body = json_body(RED) + b" " * 60_000
        refused = client.post("/score", content=body, headers=JSON_TYPE)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:salver:overloaded")
        assert "limit is 150000" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "1"
        packed = client.post("/score", content=gzip.compress(body), headers=PACKED)
        assert packed.status_code == 429
        assert client.post("/score", content=json_body(RED), headers=JSON_TYPE).status_code == 200
        slow.socket.close()
        statuses = (client.post("/score", content=body, headers=JSON_TYPE).status_code for _ in range(100))
        assert 200 in statuses
