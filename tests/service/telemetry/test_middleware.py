import base64
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from service.limits.request import Keys
from service.service import Service
from service.settings import Settings
from service.telemetry.middleware import Telemetry, Templates
from tests.support.images import solid
from tests.support.live import running_service, serving_folder
from tests.support.models import probe

pytestmark = pytest.mark.server

RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[httpx.Client]:
    with running_service(model, url_allowlist="127.0.0.1") as client:
        yield client


@pytest.mark.parametrize(
    "header",
    [f"00-{TRACE_ID}-{SPAN_ID}-01", f"00-{TRACE_ID}-{SPAN_ID}-00", f"cc-{TRACE_ID}-{SPAN_ID}-01-what-comes-later"],
)
def test_a_callers_trace_id_is_the_request_id(client: httpx.Client, header: str) -> None:
    assert client.post("/score", json=RED, headers={"traceparent": header}).headers["x-request-id"] == TRACE_ID


@pytest.mark.parametrize(
    "header",
    [
        "",
        "hello",
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-01" * 1000,
    ],
)
def test_an_ill_formed_traceparent_is_ignored(client: httpx.Client, header: str) -> None:
    answer = client.get("/model", headers={"traceparent": header})
    assert answer.is_success
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["x-request-id"] not in (TRACE_ID, "0" * 32)


def test_every_answer_has_an_id_of_its_own(client: httpx.Client) -> None:
    answers = [
        client.post("/score", json=RED),
        client.post("/score", json=RED),
        client.post("/score", content=b"{"),
        client.get("/score"),
        client.get("/nowhere"),
        client.get("/healthz"),
    ]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def stages(answer: httpx.Response) -> dict[str, float]:
    parts = [part.split(";dur=") for part in answer.headers["server-timing"].split(", ")]
    return {name: float(milliseconds) for name, milliseconds in parts}


def test_server_timing_tells_the_stages(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(solid((200, 30, 40)))
    inline = stages(client.post("/score", json=RED))
    assert list(inline) == ["queue", "decode", "inference", "total"]
    assert 0 < inline["queue"] + inline["decode"] + inline["inference"] <= inline["total"] + 0.1
    with serving_folder(tmp_path) as url:
        fetched = stages(client.post("/score", json=[RED, {"image_url": f"{url}/red.png"}]))
    assert list(fetched) == ["fetch", "queue", "decode", "inference", "total"]
    assert fetched["fetch"] > 0


def test_server_timing_of_a_list_is_that_of_its_slowest_image(client: httpx.Client) -> None:
    timing = stages(client.post("/score", json=[RED] * 32))
    assert all(timing[stage] <= timing["total"] + 0.1 for stage in ("queue", "decode", "inference"))


def test_requests_without_images_have_no_server_timing(client: httpx.Client) -> None:
    assert "server-timing" not in client.get("/model").headers
    assert "server-timing" not in client.post("/score", content=b"{").headers


def test_each_request_is_one_log_line_without_what_the_caller_made_up(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "salver.access"):
        scored = client.post("/score", json=[RED, RED], headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"})
        client.get("/made/up?key=secret")
        for probe_path in ("/healthz", "/readyz", "/metrics", "/v2/health/ready", "/v2/models/salver/ready"):
            client.get(probe_path)
        client.get("/v2/models/made-up/ready")
        client.get("/healthz")  # the line before it is written by then
    first, second, third = (vars(record)["fields"] for record in caplog.records if record.name == "salver.access")
    assert first == {
        "method": "POST",
        "route": "/score",
        "status": 200,
        "seconds": first["seconds"],
        "images": 2,
        "request_bytes": len(scored.request.content),
        "response_bytes": len(scored.content),
        "trace_id": TRACE_ID,
    }
    assert 0 < first["seconds"] < 10
    assert (second["route"], second["status"]) == ("unknown", 404)
    assert (third["route"], third["status"]) == ("/v2/models/{name}/ready", 404)
    assert not re.search("secret|made", str([first, second, third]))


@pytest.mark.anyio
async def test_an_unforeseen_failure_is_measured_and_goes_on_to_the_server(model: Path) -> None:
    def fail(_: Request) -> Response:
        raise ZeroDivisionError("a fault of ours")

    service = Service(Settings.model_validate({"model": str(model)}), Keys([]), lambda: None)
    app = Starlette()
    app.add_route("/fails", fail)
    telemetry = Telemetry(app, service, Templates(["/fails"]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(telemetry, raise_app_exceptions=False)) as client:
        answer = await client.get("http://service/fails")
    with pytest.raises(ZeroDivisionError):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(telemetry)) as client:
            await client.get("http://service/fails")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"]
    labels = {"route": "/fails", "status": "500"}
    assert service.metrics.registry.get_sample_value("salver_request_duration_seconds_count", labels) == 2
    assert service.metrics.requests_in_flight == 0


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/score", "/score"),
        ("/models/a", "/models/{name}"),
        ("/models/a/b", "unknown"),
        ("/models/", "unknown"),
        ("/files/a/b", "/files/{rest:path}"),
        ("/score\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_path_belongs_to_one_template(path: str, template: str) -> None:
    assert Templates(["/score", "/models/{name}", "/files/{rest:path}"]).find(path) == template
