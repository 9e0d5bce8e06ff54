import base64
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.limits.request import Keys
from service.scoring.outcome import Outputs
from service.scoring.scorer import Result
from service.service import Service
from service.settings import Settings
from service.telemetry.metrics import Metrics
from tests.support.images import photo, solid
from tests.support.live import running_service, serving_folder
from tests.support.models import PROBE_LABELS, nan_for_white, probe

pytestmark = pytest.mark.server

RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
BROKEN = {"image_in_base64": base64.b64encode(photo(60, 50)[:400]).decode()}
DOCS = Path(__file__).parents[3] / "docs" / "operations.md"

Values = dict[str, float]


def values(text: str) -> Values:
    """Every line of a metrics page: `name{label="value"}` to its number."""
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read(client: httpx.Client) -> Values:
    return values(client.get("/metrics").raise_for_status().text)


def outcomes(metrics: Values) -> dict[str, float]:
    prefix = "salver_images_total "
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def client(model: Path) -> Iterator[httpx.Client]:
    with running_service(model, url_allowlist="127.0.0.1", max_items=8, api_keys="k") as client:
        client.headers["Authorization"] = "Bearer k"
        yield client


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.jpg"


def test_every_image_that_was_received_has_one_outcome(client: httpx.Client) -> None:
    client.post("/score", json=[RED, BROKEN, RED, {"image_url": "http://10.0.0.1/x.jpg"}])
    client.post("/score", json=BROKEN)
    client.post("/score", json=[RED] * 9)  # refused before its images are looked at
    client.post("/score", content=b"{", headers={"Content-Type": "application/json"})
    client.post("/score", json=RED, headers={"Authorization": "Bearer wrong"})
    client.post("/score", content=solid((1, 2, 3)), headers={"Content-Type": "image/png"})
    client.post("/score", files={"file": solid((1, 2, 3))})
    metrics = read(client)
    assert outcomes(metrics) == {"scored": 4, "undecodable-image": 2, "url-refused": 1}
    assert metrics["salver_images_received_total"] == 7
    assert metrics["salver_predictions_total left R"] == 2
    assert metrics["salver_queue_images"] == 0


def test_images_of_the_inference_protocol_are_counted_too(client: httpx.Client) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "data": [RED["image_in_base64"]] * 2}
    assert client.post("/v2/models/salver/infer", json={"inputs": [tensor]}).is_success
    tensor["data"] = [RED["image_in_base64"], BROKEN["image_in_base64"]]
    assert client.post("/v2/models/salver/infer", json={"inputs": [tensor]}).status_code == 422
    metrics = read(client)
    assert outcomes(metrics) == {"scored": 3, "undecodable-image": 1}
    assert metrics["salver_images_received_total"] == 4
    assert metrics["salver_request_duration_seconds_count /v2/models/{name}/infer 422"] == 1


def test_what_the_callers_were_answered_under_overload_is_what_is_counted(model: Path) -> None:
    with running_service(model, max_items=4, max_queue_images=4) as client:
        body = [{"image_in_base64": base64.b64encode(photo(1600, 1200)).decode()}] * 3

        def ask(_: int) -> list[str]:
            answer = client.post("/score", json=body)
            if answer.is_success:
                return ["scored" if "label" in item else "failed" for item in answer.json()]
            return [answer.json()["type"].removeprefix("urn:salver:")] * 3

        with ThreadPoolExecutor(8) as callers:
            answered = Counter(outcome for answer in callers.map(ask, range(32)) for outcome in answer)
        metrics = read(client)
    assert answered["overloaded"]
    assert outcomes(metrics) == answered
    assert metrics["salver_images_received_total"] == answered.total() == 96


def test_images_of_a_request_out_of_time_end_with_its_error(model: Path, silent_url: str) -> None:
    with running_service(model, url_allowlist="127.0.0.1", request_timeout_seconds=0.2) as client:
        assert client.post("/score", json=[RED, {"image_url": silent_url}]).status_code == 504
        metrics = read(client)
    assert outcomes(metrics) == {"deadline-exceeded": 2}
    assert metrics["salver_images_received_total"] == 2


def test_images_of_a_caller_that_went_away_are_abandoned(client: httpx.Client, silent_url: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post("/score", json=[RED, {"image_url": silent_url}], timeout=0.2)
    metrics = read(client)
    for _ in range(200):
        if outcomes(metrics):
            break
        threading.Event().wait(0.02)
        metrics = read(client)
    assert outcomes(metrics) == {"abandoned": 2}
    assert metrics["salver_request_duration_seconds_count /score 499"] == 1
    assert metrics["salver_requests_in_flight"] == 1  # the reading itself


def test_requests_are_counted_by_template_and_status_never_by_path(client: httpx.Client) -> None:
    for path in ("/secret/a", "/secret/b", "/score/", "/v2/models/a/b/c"):
        client.get(path)
    client.get("/score")
    for name in ("one", "two"):
        client.get(f"/v2/models/{name}")
    client.get("/docs")
    metrics = read(client)
    count = "salver_request_duration_seconds_count"
    routes = {name.removeprefix(f"{count} ") for name in metrics if name.startswith(count)}
    assert metrics[f"{count} unknown 404"] == 4
    assert {"/score 405", "/v2/models/{name} 404", "/docs 200", "/readyz 200"} <= routes
    assert metrics[f"{count} /v2/models/{{name}} 404"] == 2
    assert not any("secret" in name or "one" in name for name in metrics if name.startswith(count))


def test_bytes_of_bodies_are_counted_both_ways(client: httpx.Client) -> None:
    before = client.get("/metrics")
    answer = client.post("/score", json=RED)
    earlier, later = values(before.text), read(client)
    grown = {
        way: later[f"salver_{way}_bytes_total"] - earlier[f"salver_{way}_bytes_total"]
        for way in ("request", "response")
    }
    assert grown == {"request": len(answer.request.content), "response": len(before.content) + len(answer.content)}


def test_each_stage_of_each_image_is_timed(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(solid((200, 30, 40)))
    with serving_folder(tmp_path) as url:
        client.post("/score", json=[RED, {"image_url": f"{url}/red.png"}, BROKEN])
        client.post("/score", json=RED)
    metrics = read(client)
    counts = {stage: metrics[f"salver_stage_duration_seconds_count {stage}"] for stage in ("fetch", "queue", "decode")}
    assert counts == {"fetch": 1, "queue": 4, "decode": 4}
    assert metrics["salver_stage_duration_seconds_count inference"] == 3
    assert metrics["salver_stage_duration_seconds_count total"] == 2
    assert (
        metrics["salver_stage_duration_seconds_sum total"] >= metrics["salver_stage_duration_seconds_sum inference"] / 2
    )


def test_the_model_and_the_process_are_told(client: httpx.Client) -> None:
    card = client.get("/model").json()
    metrics = read(client)
    assert metrics[f"salver_model_info {card['name']} {card['precision']} {card['provider']} {card['version']}"] == 1
    assert metrics["salver_ready"] == 1
    assert metrics["process_resident_memory_bytes"] > 10_000_000
    assert metrics["process_open_fds"] > 3
    assert metrics["process_cpu_seconds_total"] > 0


def test_a_key_file_that_cannot_be_used_is_told_until_it_is_in_force_again(model: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("k")
    name = "SALVER_API_KEYS_FILE"
    with running_service(model, api_keys_file=tmp_path / "keys") as client:
        metrics = read(client)
        assert metrics[f"salver_file_stale {name}"] == 0
        assert 0 <= metrics[f"salver_file_confirmed_age_seconds {name}"] < 10
        assert client.get("/readyz").json() == {"status": "ready"}
        (tmp_path / "keys").unlink()
        metrics = until(client, f"salver_file_stale {name}", 1)
        assert metrics["salver_ready"] == 1
        assert client.get("/readyz").json() == {"status": "ready", "stale": [name]}
        confirmed = metrics[f"salver_file_confirmed_age_seconds {name}"]
        assert read(client)[f"salver_file_confirmed_age_seconds {name}"] > confirmed
        taken = read(client)[f"salver_file_taken_age_seconds {name}"]
        (tmp_path / "keys").write_text("k\nl")
        metrics = until(client, f"salver_file_stale {name}", 0)
        assert metrics[f"salver_file_taken_age_seconds {name}"] < taken
        assert client.get("/readyz").json() == {"status": "ready"}


def until(client: httpx.Client, name: str, value: float) -> Values:
    """The metrics once one of them has that value."""
    for _ in range(1000):
        if (metrics := read(client))[name] == value:
            return metrics
        threading.Event().wait(0.01)
    raise AssertionError(f"{name} did not become {value}")


def test_without_a_file_to_look_at_none_is_told_of(client: httpx.Client) -> None:
    assert not [name for name in read(client) if name.startswith("salver_file_")]


def test_a_failed_inference_is_an_outcome(tmp_path: Path) -> None:
    with running_service(nan_for_white(tmp_path / "model.onnx")) as client:
        white = base64.b64encode(solid((255, 255, 255))).decode()
        assert client.post("/score", json={"image_in_base64": white}).status_code == 500
        metrics = read(client)
    assert outcomes(metrics) == {"inference-failed": 1}
    assert metrics["salver_request_duration_seconds_count /score 500"] == 1


def test_two_services_in_one_process_count_apart(model: Path) -> None:
    settings = Settings.model_validate({"model": str(model)})
    one, two = Service(settings, Keys([])), Service(settings, Keys([]))
    one.metrics.images_received.inc(3)
    assert one.metrics.registry.get_sample_value("salver_images_received_total") == 3
    assert two.metrics.registry.get_sample_value("salver_images_received_total") == 0


@pytest.fixture
def metrics(model: Path) -> Metrics:
    return Service(Settings.model_validate({"model": str(model)}), Keys([]), lambda: None).metrics


def test_a_hundred_labels_are_counted_one_by_one_and_the_others_together(metrics: Metrics) -> None:
    labels = tuple(f"label {n}" for n in range(150))
    for index in range(150):
        logits = np.zeros(150, np.float32)
        logits[index] = 1
        metrics.scored([Result(Outputs(logits))], labels)
    metrics.scored([Result(Outputs(np.ones(3, np.float32)))], ("of a new model", "b", "c"))
    read = metrics.registry.get_sample_value
    assert read("salver_predictions_total", {"label": "label 99"}) == 1
    assert read("salver_predictions_total", {"label": "label 100"}) is None
    assert read("salver_predictions_total", {"label": "other"}) == 51


def test_labels_are_there_from_the_first_image_on(metrics: Metrics) -> None:
    metrics.scored([Result(Outputs(np.arange(12, dtype=np.float32)))], PROBE_LABELS)
    read = metrics.registry.get_sample_value
    assert [read("salver_predictions_total", {"label": label}) for label in PROBE_LABELS] == [0] * 11 + [1]


def test_batches_and_changes_of_the_model_are_counted(metrics: Metrics) -> None:
    metrics.batch_run(8)
    metrics.batch_run(3)
    metrics.reloaded("ok")
    read = metrics.registry.get_sample_value
    assert read("salver_batch_images_sum") == 11
    assert read("salver_batch_images_bucket", {"le": "4.0"}) == 1
    assert [read("salver_model_reloads_total", {"outcome": outcome}) for outcome in ("ok", "failed")] == [1, 0]


def test_the_operations_page_lists_every_metric(model: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("k")
    with running_service(model, api_keys_file=tmp_path / "keys") as client:
        client.post("/score", json=RED, headers={"Authorization": "Bearer k"})
        text = client.get("/metrics").text
    names = {
        sample.name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("salver_")
    }
    listed = {
        line.split("`")[1].split("{")[0] for line in DOCS.read_text().splitlines() if line.startswith("| `salver_")
    }
    assert listed == names
