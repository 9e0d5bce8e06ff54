"""The histograms of the images that were scored, as `salver drift` reads them."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from salver.artifact.bounds.decoders import Decoders
from service.scoring.batcher import BatchScorer
from service.scoring.model import load_model
from service.scoring.runner import Runner
from tests.support.complete import complete
from tests.support.images import photo, solid
from tests.support.live import running_service
from tests.support.models import probe

pytestmark = pytest.mark.server

RED, GREEN, WHITE = (200, 30, 40), (30, 200, 40), (255, 255, 255)
Counts = dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def client(model: Path) -> Iterator[httpx.Client]:
    with running_service(model) as client:
        yield client


def send(client: httpx.Client, *files: bytes, **parameters: object) -> httpx.Response:
    body = [{"image_in_base64": base64.b64encode(data).decode(), "parameters": parameters} for data in files]
    return client.post("/score", json=body)


def counts(client: httpx.Client) -> Counts:
    """Without empty bins, all of the version that is served."""
    version, found = client.get("/model").json()["version"], Counts()
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for line in family.samples:
            if line.name == "salver_fact_images_total" and line.value:
                assert line.labels["version"] == version
                found.setdefault(line.labels["fact"], {})[line.labels["bin"]] = int(line.value)
    return found


def test_every_fact_of_an_image_is_counted_familiarity_too_where_nobody_asks_for_it(client: httpx.Client) -> None:
    answer = send(client, solid(RED, 640, 480), solid(GREEN, 640, 481, "JPEG")).json()
    assert "familiarity" not in answer[0]
    assert counts(client) == {
        "familiarity": {"0.00": 1, "0.95": 1},
        "foreign": {"no": 1, "yes": 1},
        "label": {"red": 1, "green": 1},
        "probability": counts(client)["probability"],
        "width": {"0512": 2},
        "height": {"0384": 2},
        "mode": {"RGB": 2},
        "brightness": {"016": 1, "192": 1},
        "sharpness": {"00.00": 2},
    }


@pytest.mark.parametrize("asked", [{}, {"familiarity": True}, {"features": True}, {"heat_map": True}])
def test_an_image_is_counted_alike_whatever_is_asked_of_it(client: httpx.Client, asked: dict[str, bool]) -> None:
    assert send(client, solid(RED), **asked).is_success
    assert counts(client)["foreign"] == {"no": 1}
    assert sum(counts(client)["familiarity"].values()) == 1


def test_a_retry_and_a_burst_are_one_look_and_broken_images_are_none(client: httpx.Client) -> None:
    assert send(client, *[photo(64, 48)] * 20).is_success
    assert send(client, photo(64, 48)).is_success
    assert send(client, photo(64, 48)[:200]).status_code == 422
    assert counts(client)["label"] == {next(iter(counts(client)["label"])): 1}
    assert send(client, photo(64, 48, seed=1)).is_success
    assert sum(counts(client)["label"].values()) == 2


def test_an_image_without_a_familiarity_is_answered_as_before_and_counted_as_foreign(client: httpx.Client) -> None:
    answer = send(client, solid(WHITE))
    assert answer.status_code == 200
    assert answer.json()[0]["label"] == "red"
    assert counts(client)["foreign"] == {"yes": 1}
    assert counts(client)["familiarity"] == {"-1.00": 1}


def test_a_tensor_has_no_file_to_tell_of(client: httpx.Client) -> None:
    pixels = np.full((1, 32, 32, 3), RED, np.uint8)
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": pixels.ravel().tolist()}
    assert client.post("/v2/models/salver/infer", json={"inputs": [tensor]}).is_success
    found = counts(client)
    assert found["label"] == {"red": 1}
    assert not {"width", "height", "mode"} & set(found)


def test_the_share_of_foreign_images_is_there_from_the_start_where_the_file_can_tell(
    client: httpx.Client, tmp_path: Path
) -> None:
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("salver_fact_images_total{")]
    assert len(lines) == 2
    with running_service(probe(tmp_path / "old.onnx")) as old:
        assert "salver_fact_images_total{" not in old.get("/metrics").text
        assert send(old, solid(RED)).is_success
        assert not {"familiarity", "foreign"} & set(counts(old))
        assert counts(old)["label"]


@pytest.mark.anyio
async def test_batches_count_as_single_images_do(model: Path) -> None:
    loaded = load_model(str(model), "cpu", 1)
    with Decoders() as decoders:
        scorer = BatchScorer(
            loaded,
            Runner.warmed(loaded, 4),
            threads=2,
            max_queue_images=64,
            decoders=decoders,
            on_batch=lambda _: None,
        )
        files: Sequence[bytes] = [solid(RED), solid(GREEN), *[photo(64, 48, seed) for seed in range(10)], solid(RED)]
        results = await scorer.score(files)
        scorer.close()
    assert loaded.facts.images == 12
    assert {
        fact: sum(bins.values()) for fact, bins in loaded.facts.counts().items() if fact != "mode"
    } == dict.fromkeys(
        ("familiarity", "foreign", "label", "probability", "width", "height", "brightness", "sharpness"), 12
    )
    assert all(result.header is not None for result in results)
