import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.api.request import Parameters
from tests.support.images import encode, photo, picture, solid
from tests.support.live import running_service, serving_folder
from tests.support.models import PROBE_LABELS, constant, nan_for_white, probe, write

pytestmark = pytest.mark.server

RED, GREEN, BLUE = solid((200, 30, 40)), solid((20, 180, 60)), solid((30, 40, 220))
BROKEN = photo(60, 50)[:400]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def item(data: bytes, **parameters: object) -> dict[str, object]:
    return {"image_in_base64": text(data), "parameters": parameters}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    model = probe(tmp_path_factory.mktemp("model") / "model.onnx")
    with running_service(model, url_allowlist="127.0.0.1", max_body_bytes=1_000_000, max_items=8) as client:
        yield client


def test_images_are_answered_in_order_with_their_scores_in_label_order(client: httpx.Client) -> None:
    answer = client.post("/score", json=[item(RED), item(GREEN), item(BLUE)])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-model-version"] == client.get("/model").json()["version"]
    assert [PROBE_LABELS[one["label_index"]][-1] for one in answer.json()] == ["R", "G", "B"]
    first = answer.json()[0]
    assert first["label"] == "left R"
    assert first["scores"] == pytest.approx([200 / 255, 30 / 255, 40 / 255] * 4, abs=1e-5)
    assert first["score"] == max(first["scores"])


def test_good_and_broken_images_of_a_list_are_answered_one_by_one(client: httpx.Client) -> None:
    mixed = client.post("/score", json=[item(RED), item(BROKEN), item(BLUE)])
    alone = client.post("/score", json=[item(RED)]).json() + client.post("/score", json=[item(BLUE)]).json()
    assert mixed.status_code == 200
    good, error, other = mixed.json()
    assert [good, other] == alone
    assert error["error"]["type"] == "urn:salver:undecodable-image"
    assert "truncated or corrupt" in error["error"]["detail"]


def test_when_no_image_was_scored_the_status_is_the_first_errors_own(client: httpx.Client) -> None:
    answer = client.post("/score", json=[{"image_url": "http://10.0.0.1/x.jpg"}, item(BROKEN)])
    problem = answer.json()
    assert answer.status_code == problem["status"] == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "urn:salver:url-refused"
    assert [(e["index"], e["type"]) for e in problem["errors"]] == [
        (0, "urn:salver:url-refused"),
        (1, "urn:salver:undecodable-image"),
    ]


def test_another_clients_broken_images_change_nothing_for_a_good_one(client: httpx.Client) -> None:
    """The second client."""
    expected = client.post("/score", json=[item(GREEN)]).json()
    statuses: list[int] = []

    def send_broken() -> None:
        statuses.extend(client.post("/score", json=[item(BROKEN)] * 4).status_code for _ in range(10))

    thread = threading.Thread(target=send_broken)
    thread.start()
    answers = [client.post("/score", json=[item(GREEN)]).json() for _ in range(10)]
    thread.join()
    assert answers == [expected] * 10
    assert statuses == [422] * 10


def test_a_bare_object_is_answered_with_a_list_of_one(client: httpx.Client) -> None:
    assert client.post("/score", json=item(RED)).json() == client.post("/score", json=[item(RED)]).json()


def test_top_k_replaces_the_scores_and_is_clamped_to_the_number_of_labels(client: httpx.Client) -> None:
    two, all_of_them = client.post("/score", json=[item(RED, top_k=2), item(RED, top_k=1000)]).json()
    assert two["top"] == [{"label": "left R", "score": two["score"]}, {"label": "right R", "score": two["score"]}]
    assert "scores" not in two
    assert len(all_of_them["top"]) == len(PROBE_LABELS)


def test_an_image_url_is_fetched_and_scored_like_its_bytes(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    with serving_folder(tmp_path) as url:
        by_url = client.post("/score", json=[{"image_url": f"{url}/red.png"}, {"image_url": f"{url}/absent.png"}])
    scored, failed = by_url.json()
    assert scored == client.post("/score", json=[item(RED)]).json()[0]
    assert failed["error"]["type"] == "urn:salver:url-failed"
    assert "404" in failed["error"]["detail"]


def test_softmax_is_that_of_the_logits_and_large_ones_do_not_overflow(tmp_path: Path) -> None:
    expected = {(2, 1, 0): [0.6652, 0.2447, 0.0900], (1000, 0, 0): [1, 0, 0]}
    for logits, probabilities in expected.items():
        with running_service(constant(tmp_path / "model.onnx", logits)) as client:
            on, off = client.post("/score", json=[item(RED, add_softmax=True), item(RED)]).json()
        assert on["scores"] == pytest.approx(probabilities, abs=1e-4)
        assert off["scores"] == list(logits)


def test_the_temperature_divides_the_logits_before_softmax_only(tmp_path: Path) -> None:
    with running_service(constant(tmp_path / "model.onnx", [2, 1, 0], temperature=2.0)) as client:
        on, off = client.post("/score", json=[item(RED, add_softmax=True), item(RED)]).json()
    weights = np.exp([1.0, 0.5, 0.0])
    assert on["scores"] == pytest.approx((weights / weights.sum()).tolist(), abs=1e-6)
    assert off["scores"] == [2, 1, 0]


def test_the_smallest_temperature_and_the_largest_logits_give_numbers(tmp_path: Path) -> None:
    with running_service(constant(tmp_path / "model.onnx", [3e38, 1, -3e38], temperature=1e-30)) as client:
        (answer,) = client.post("/score", json=[item(RED, add_softmax=True)]).json()
    assert answer["scores"] == [1, 0, 0]


def test_a_best_probability_under_its_labels_threshold_abstains(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [helper.make_node("ReduceMean", ["scaled", "middle"], ["logits"], keepdims=0)]
    path = write(
        tmp_path / "m.onnx", nodes, {"over": np.float32(1 / 255), "middle": np.array([1, 2])}, ("r", "g", "b"),
        thresholds={"r": 0.5},
    )  # fmt: skip
    with running_service(path) as client:
        red, green, raw = client.post(
            "/score", json=[item(RED, add_softmax=True), item(GREEN, add_softmax=True), item(RED)]
        ).json()
    assert (red["label"], red["abstained"], red["label_index"]) == (None, True, 0)
    assert (green["label"], "abstained" in green) == ("g", False)
    assert (raw["label"], "abstained" in raw) == ("r", False)


def test_scores_that_are_not_numbers_are_that_images_error_and_the_answer_is_strict_json(tmp_path: Path) -> None:
    with running_service(nan_for_white(tmp_path / "model.onnx")) as client:
        answer = client.post("/score", json=[item(RED), item(solid((255, 255, 255))), item(BLUE)])
        only = client.post("/score", json=[item(solid((255, 255, 255)))])
    red, white, blue = json.loads(answer.text, parse_constant=pytest.fail)
    assert (red["label_index"], blue["label_index"]) == (1, 0)
    assert white["error"]["type"] == "urn:salver:inference-failed"
    assert "non-finite scores" in white["error"]["detail"]
    assert only.status_code == 500


@pytest.mark.parametrize(
    ("headers", "body", "status", "kind"),
    [
        ({"Content-Type": "application/octet-stream"}, b"\x80\x81\x82\xff", 415, "unsupported-media-type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=b", 415, "unsupported-media-type"),
        ({"Content-Type": "text/plain"}, b"[]", 415, "unsupported-media-type"),
        ({}, b"[]", 415, "unsupported-media-type"),
        ({"Content-Type": "application/json; charset=latin-1"}, b"[]", 415, "unsupported-media-type"),
        ({"Content-Type": "application/json"}, b"\x80\x81\x82\xff", 400, "malformed-json"),
        ({"Content-Type": "application/json"}, b"[" * 100_000, 400, "malformed-json"),
        ({"Content-Type": "application/json"}, b"", 400, "malformed-json"),
        ({"Content-Type": "application/json"}, b"[]", 422, "invalid-request"),
        ({"Content-Type": "application/json"}, b'{"images": [NaN]}', 422, "invalid-request"),
        ({"Content-Type": "application/json"}, b"[" + b" " * 1_000_000 + b"]", 413, "payload-too-large"),
    ],
)
def test_a_malformed_request_is_a_short_problem_and_never_a_500(
    client: httpx.Client, headers: dict[str, str], body: bytes, status: int, kind: str
) -> None:
    answer = client.post("/score", content=body, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:salver:{kind}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 2000
    if kind == "unsupported-media-type":
        assert "Content-Type" in answer.json()["detail"]


def test_a_charset_and_a_byte_order_mark_are_accepted(client: httpx.Client) -> None:
    body = "\ufeff" + json.dumps([item(RED)])
    answer = client.post("/score", content=body.encode(), headers={"Content-Type": 'application/json; charset="UTF-8"'})
    assert answer.status_code == 200


def test_a_chunked_body_over_the_limit_is_refused_before_it_is_read(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 50_000

    answer = client.post("/score", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "1000000 bytes" in answer.json()["detail"]


def test_a_picture_with_more_pixels_than_the_limit_is_its_own_error(tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx"), max_image_pixels=10_000) as client:
        answer = client.post("/score", json=[item(photo(200, 100)), item(photo(50, 40))])
    assert answer.json()[0]["error"]["type"] == "urn:salver:image-too-large"
    assert "10000" in answer.json()[0]["error"]["detail"].replace(",", "")
    assert "label" in answer.json()[1]


def test_many_threads_get_the_scores_of_one(client: httpx.Client) -> None:
    images = [item(encode(picture(60, 45, seed))) for seed in range(24)]
    alone = [client.post("/score", json=[one]).json()[0] for one in images]
    answers: dict[int, list[object]] = {}

    def send(start: int) -> None:
        answers[start] = client.post("/score", json=images[start : start + 6]).json()

    threads = [threading.Thread(target=send, args=(start,)) for start in range(0, 24, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for start in sorted(answers) for one in answers[start]] == alone


def test_the_api_is_described_with_every_error_and_the_page_is_there(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()["paths"]
    assert set(described) >= {"/score", "/model", "/healthz", "/readyz"}
    assert set(described["/score"]["post"]["responses"]) == {
        "200", "400", "401", "413", "415", "422", "424", "429", "500", "503", "504",
    }  # fmt: skip
    assert set(described["/score"]["post"]["requestBody"]["content"]) == {
        "application/json", "image/*", "multipart/form-data",
    }  # fmt: skip
    assert {one["name"] for one in described["/score"]["post"]["parameters"]} == set(Parameters.model_fields)
    assert client.get("/docs").status_code == 200
    missing = client.get("/nothing")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert client.get("/score").status_code == 405


def test_the_model_card_says_what_is_served(client: httpx.Client) -> None:
    card = client.get("/model").json()
    assert (card["name"], card["base"]) == ("salver", "probe")
    assert tuple(card["labels"]) == PROBE_LABELS
    assert card["provider"] == "CPUExecutionProvider"
    assert card["pixels"]["resize"] == "stretch"
    assert len(card["version"]) == 64
