import base64
from pathlib import Path

import httpx
import pytest

from service.errors import ScoringError
from service.limits.request import RateLimit
from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}


class Clock:
    """Time that passes when told."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_burst_is_taken_at_once_and_the_rate_in_the_long_run() -> None:
    clock = Clock()
    limit = RateLimit(10, 64, clock)
    limit.charge(b"one", 64)
    with pytest.raises(ScoringError, match="10 images a second") as caught:
        limit.charge(b"one", 15)
    assert (caught.value.kind, caught.value.headers) == ("overloaded", {"Retry-After": "2"})
    taken = 0
    for _ in range(1000):
        clock.seconds += 0.05
        try:
            limit.charge(b"one", 1)
        except ScoringError:
            continue
        taken += 1
    assert taken == pytest.approx(500, abs=1)


def test_what_retry_after_says_is_then_taken() -> None:
    clock = Clock()
    limit = RateLimit(0.1, 1, clock)
    limit.charge(b"one", 1)
    with pytest.raises(ScoringError) as caught:
        limit.charge(b"one", 1)
    clock.seconds += int(caught.value.headers["Retry-After"])
    limit.charge(b"one", 1)


def test_a_full_list_is_taken_however_low_the_rate_and_never_more_than_the_burst_is_saved_up() -> None:
    clock = Clock()
    limit = RateLimit(0.5, 64, clock)
    clock.seconds += 1e6
    limit.charge(b"one", 64)
    with pytest.raises(ScoringError):
        limit.charge(b"one", 1)


def test_without_a_rate_there_is_no_limit() -> None:
    limit = RateLimit(None, 1)
    for _ in range(10):
        limit.charge(b"one", 1000)


def test_one_keys_limit_is_not_anothers_and_holds_in_both_protocols(tmp_path: Path) -> None:
    model = probe(tmp_path / "model.onnx")
    infer = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [RED["image_in_base64"]]}]}
    with running_service(model, api_keys="one,two", max_items=2, rate_limit_images_per_second=0.01) as client:

        def post(key: str, path: str, body: object) -> httpx.Response:
            return client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})

        assert post("one", "/score", [RED, RED]).status_code == 200
        refused = post("one", "/score", [RED])
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:salver:overloaded"
        assert int(refused.headers["retry-after"]) == pytest.approx(100, abs=2)
        assert post("one", "/v2/models/salver/infer", infer).status_code == 429
        assert post("two", "/v2/models/salver/infer", infer).status_code == 200
        assert post("two", "/score", [RED]).status_code == 200
        assert post("two", "/score", [RED]).status_code == 429
