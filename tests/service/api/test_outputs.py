"""What `POST /score` answers besides labels and scores: familiarity, features, heat."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import pytest
from PIL import Image

from salver.artifact.manifest import Manifest, PixelSpec, missing_output
from tests.support.complete import BIAS, CELLS, COLOURS, complete
from tests.support.images import encode, photo, solid
from tests.support.live import running_server, running_service
from tests.support.models import manifest_for, probe

pytestmark = pytest.mark.server

RED, GREEN, GREY = solid((200, 30, 40)), solid((20, 180, 60)), solid((90, 90, 90))
BLACK, WHITE = solid((0, 0, 0)), solid((255, 255, 255))
FOREIGN = "The image is unlike the training photos."


def item(data: bytes, **parameters: object) -> dict[str, object]:
    return {"image_in_base64": base64.b64encode(data).decode(), "parameters": parameters}


def asked(client: httpx.Client, data: bytes, **parameters: object) -> dict[str, Any]:
    """One image's part of the answer."""
    (answer,) = client.post("/score", json=[item(data, **parameters)]).json()
    found: dict[str, Any] = answer
    return found


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(complete(tmp_path_factory.mktemp("model") / "model.onnx")) as client:
        yield client


@pytest.fixture(scope="module")
def with_floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A model that has features for black and white, too, and knows red ones only."""
    path = complete(tmp_path_factory.mktemp("model") / "model.onnx", floor=0.05, thresholds={"red": 0.99})
    with running_service(path) as client:
        yield client


def test_familiarity_and_features_are_answered_where_they_are_asked_for(client: httpx.Client) -> None:
    plain, red, green, features = client.post(
        "/score", json=[item(RED), item(RED, familiarity=True), item(GREEN, familiarity=True), item(RED, features=True)]
    ).json()
    assert list(plain) == ["label", "label_index", "score", "scores"]
    assert list(red) == [*plain, "familiarity", "foreign"]
    assert (red["foreign"], green["foreign"], green["label"]) == (False, True, "green")
    assert red["familiarity"] == pytest.approx(1, abs=0.01)
    assert list(features) == [*plain, "features"]
    np.testing.assert_allclose(8 * np.array(features["features"]) + BIAS, features["scores"], atol=1e-5)
    assert [one["scores"] for one in (red, features)] == [plain["scores"]] * 2


@pytest.mark.parametrize("add_softmax", [False, True])
def test_a_foreign_image_has_no_label_and_the_reason_where_such_are_rejected(
    client: httpx.Client, *, add_softmax: bool
) -> None:
    green = asked(client, GREEN, add_softmax=add_softmax, reject_foreign=True, top_k=2)
    plain = asked(client, GREEN, add_softmax=add_softmax, top_k=2)
    beside = {"label": None, "abstained": True, "reason": FOREIGN, "foreign": True}
    assert green == plain | beside | {"familiarity": green["familiarity"]}
    red = asked(client, RED, add_softmax=add_softmax, reject_foreign=True)
    assert (red["label"], red["foreign"], {"abstained", "reason"} & set(red)) == ("red", False, set())


def noise() -> bytes:
    return encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))


@pytest.mark.parametrize("data", [BLACK, WHITE, noise()], ids=["black", "white", "noise"])
def test_what_is_no_photo_is_rejected_with_a_finite_familiarity(with_floor: httpx.Client, data: bytes) -> None:
    answer = asked(with_floor, data, reject_foreign=True)
    assert (answer["label"], answer["reason"], answer["foreign"]) == (None, FOREIGN, True)
    assert np.isfinite(answer["familiarity"])


def test_an_abstention_by_threshold_has_its_reason_where_foreign_ones_are_rejected(with_floor: httpx.Client) -> None:
    dim = solid((90, 20, 20))
    plain = asked(with_floor, dim, add_softmax=True)
    told = asked(with_floor, dim, add_softmax=True, reject_foreign=True)
    assert (plain["label"], plain["abstained"], "reason" in plain) == (None, True, False)
    assert (told["label"], told["abstained"], told["foreign"]) == (None, True, False)
    assert "under its label's threshold" in told["reason"]


@pytest.mark.parametrize("asks", ["familiarity", "reject_foreign", "features"])
def test_an_image_without_features_is_its_own_error_and_never_familiar(client: httpx.Client, asks: str) -> None:
    answer = client.post("/score", json=[item(RED), item(GREY), item(GREY, **{asks: True})])
    red, plain, grey = json.loads(answer.text, parse_constant=pytest.fail)
    assert "label" in red
    assert "label" in plain
    assert grey["error"]["type"] == "urn:salver:inference-failed"
    assert "all zero" in grey["error"]["detail"]
    counted = [line for line in client.get("/metrics").text.splitlines() if 'outcome="inference-failed"' in line]
    assert len(counted) == 1


def test_a_file_in_the_body_asks_in_the_query(client: httpx.Client) -> None:
    headers = {"Content-Type": "image/png"}
    (whole,) = client.post("/score?familiarity=true&heat_map=green&features=true", content=RED, headers=headers).json()
    assert whole == asked(client, RED, familiarity=True, heat_map="green", features=True)
    (quoted,) = client.post('/score?heat_map="green"', content=RED, headers=headers).json()
    (best,) = client.post("/score?heat_map=true", content=RED, headers=headers).json()
    assert (quoted["heat_map"]["label"], best["heat_map"]["label"]) == ("green", "red")
    refused = client.post("/score?heat_map=7", content=RED, headers=headers)
    assert (refused.status_code, "no label '7'" in refused.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"heat_map": "cup"}, "item 1, parameters, heat_map: the model has no label 'cup'"),
        ({"heat_map": "cu\x1bp" * 100}, "item 1, parameters, heat_map: the model has no label 'cu"),
        ({"heat_map": 1}, "item 1, parameters, heat_map: give true for the best label's, or the name of a label."),
        ({"heat_map": ["red"]}, "item 1, parameters, heat_map: give true"),
        ({"heat_map": None}, "item 1, parameters, heat_map: give true"),
        ({"familiarity": "yes"}, "item 1, parameters, familiarity: "),
        ({"features": 1}, "item 1, parameters, features: "),
        ({"reject_foreign": None}, "item 1, parameters, reject_foreign: "),
    ],
)
def test_a_wrong_parameter_is_refused_for_the_whole_request(
    client: httpx.Client, parameters: dict[str, object], words: str
) -> None:
    before = client.get("/metrics").text.count("salver_images_received_total")
    answer = client.post("/score", json=[item(RED), item(RED, **parameters)])
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:salver:invalid-request")
    assert answer.json()["detail"].startswith(words)
    assert "\x1b" not in answer.json()["detail"]
    assert before == client.get("/metrics").text.count("salver_images_received_total")


OUTPUT_OF = {"familiarity": "familiarity", "reject_foreign": "familiarity", "features": "features", "heat_map": "heat"}


@pytest.mark.parametrize(("version", "base"), [(1, "probe"), (2, "probe"), (2, "alexnet")])
def test_a_file_that_does_not_give_it_says_why_and_what_to_do(
    tmp_path: Path, version: Literal[1, 2], base: str
) -> None:
    path = complete(tmp_path / "m.onnx", outputs=("logits",), schema_version=version, base=base)
    manifest = manifest_for(COLOURS, PixelSpec(height=32, width=32, resize="stretch"), photo(9, 9), [0.0] * 3)
    manifest = Manifest.model_validate(manifest.model_dump() | {"schema_version": version, "base": base})
    with running_service(path) as client:
        for field, output in OUTPUT_OF.items():
            answer = client.post("/score", json=[item(RED), item(RED, **{field: True})])
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:salver:invalid-request")
            assert answer.json()["detail"].startswith(f"item 1, parameters, {field}: ")
            assert answer.json()["detail"].endswith(missing_output(manifest, output))  # type: ignore[arg-type]
        assert "label" in asked(client, RED, heat_map=False, familiarity=False)


def test_what_is_not_asked_for_changes_no_byte_of_an_answer(client: httpx.Client, tmp_path: Path) -> None:
    items = [item(RED), item(GREEN, add_softmax=True), item(GREY, top_k=2), item(b"broken")]
    earlier = complete(tmp_path / "m.onnx", outputs=("logits",), schema_version=1)
    with running_service(earlier) as other:
        answers = [each.post("/score", json=items).content for each in (client, other)]
    assert answers[0] == answers[1]
    assert answers[0].startswith(b'[{"label":"red","label_index":0,"score":5.8333')


def test_a_service_that_is_set_to_says_it_of_every_image(tmp_path: Path) -> None:
    path = complete(tmp_path / "model.onnx")
    with running_service(path, familiarity=True) as client:
        answers = client.post("/score", json=[item(RED), item(GREEN, familiarity=False)]).json()
        assert [(one["label"], one["foreign"]) for one in answers] == [("red", False), ("green", True)]
    with running_service(path, reject_foreign=True) as client:
        answers = client.post("/score", json=[item(RED), item(GREEN)]).json()
        assert [one["label"] for one in answers] == ["red", None]
        assert answers[1]["reason"] == FOREIGN


@pytest.mark.parametrize("setting", ["familiarity", "reject_foreign"])
def test_a_file_that_cannot_keep_what_a_setting_promises_is_not_served(
    tmp_path: Path, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(probe(tmp_path / "model.onnx"), **{setting: True}) as server:
        for _ in range(500):
            if server.failed:
                break
            threading.Event().wait(0.02)
        assert server.failed
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert line.startswith(f"SALVER_{setting.upper()} is set, but ")
    assert "\n" not in line


def test_more_than_the_memory_for_requests_holds_is_refused(tmp_path: Path) -> None:
    path = complete(tmp_path / "model.onnx")
    few = 2 * 4 * (len(COLOURS) * CELLS**2)
    with running_service(path, max_body_bytes=few, max_image_bytes=few, max_inflight_bytes=few) as client:
        answer = client.post("/score", json=[item(BLACK, heat_map=True)] * 3)
        assert (answer.status_code, "send fewer images" in answer.json()["detail"]) == (422, True)


def test_the_model_card_lists_outputs_familiarity_and_the_passport(client: httpx.Client, tmp_path: Path) -> None:
    card = client.get("/model").json()
    assert card["outputs"] == [
        {"name": "logits", "shape": [3]},
        {"name": "features", "shape": [3]},
        {"name": "familiarity", "shape": []},
        {"name": "heat", "shape": [3, CELLS, CELLS]},
    ]
    assert card["familiarity"]["threshold"] == 0.8
    assert {"max_false_alarms", "reached", "photos"} <= set(card["familiarity"])
    passport = card["passport"]
    assert (passport["engine"], passport["provider"]) == ("onnxruntime", card["provider"])
    assert 0 <= passport["card_difference"] <= 1e-3
    metrics = client.get("/metrics").text
    assert f'version="{passport["engine_version"]}"' in metrics
    assert f"salver_card_difference {passport['card_difference']}" in metrics
    with running_service(probe(tmp_path / "m.onnx")) as other:
        plain = other.get("/model").json()
    assert (plain["outputs"], plain["familiarity"]) == ([{"name": "logits", "shape": [12]}], None)
