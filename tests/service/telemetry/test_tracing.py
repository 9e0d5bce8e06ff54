import base64
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from service.telemetry.tracing import start_tracing
from tests.support.images import solid
from tests.support.live import free_port, running_service, serving_folder
from tests.support.models import nan_for_white, probe

pytestmark = pytest.mark.server

RED = {"image_in_base64": base64.b64encode(solid((200, 30, 40))).decode()}
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """What a real OTLP collector on loopback was sent."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: set[str] = set()
        self.headers: list[dict[str, str]] = []

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def service_names(self) -> set[str]:
        resources = [resource.resource for request in self.requests for resource in request.resource_spans]
        return {
            attribute.value.string_value
            for resource in resources
            for attribute in resource.attributes
            if attribute.key == "service.name"
        }


@contextmanager
def collector_on_loopback() -> Iterator[tuple[str, Collector]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.paths.add(self.path)
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", collector
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector_on_loopback() as (url, collector):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        yield collector


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


def attributes(span: Span) -> dict[str, str | int]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def test_a_request_is_a_span_under_its_callers_with_a_child_for_each_stage(
    collector: Collector, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "red.png").write_bytes(solid((200, 30, 40)))
    with running_service(model, url_allowlist="127.0.0.1") as client, serving_folder(tmp_path) as url:
        answer = client.post(
            "/score",
            json=[RED, {"image_url": f"{url}/red.png"}],
            headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"},
        )
    assert answer.headers["x-request-id"] == TRACE_ID
    assert collector.paths == {"/v1/traces"}
    assert collector.service_names == {"salver"}
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}
    (server,) = (span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert server.name == "POST /score"
    assert server.parent_span_id.hex() == SPAN_ID
    assert attributes(server) == {
        "http.request.method": "POST",
        "http.route": "/score",
        "http.response.status_code": 200,
        "http.request.body.size": len(answer.request.content),
        "http.response.body.size": len(answer.content),
        "salver.images": 2,
    }
    stages = {span.name: span for span in collector.spans if span is not server and span.name != server.name}
    assert set(stages) == {"fetch", "queue", "decode", "inference"}
    for stage in stages.values():
        assert stage.parent_span_id == server.span_id
        assert stage.start_time_unix_nano < stage.end_time_unix_nano <= server.end_time_unix_nano


def test_the_request_id_of_a_new_trace_is_its_trace_id(collector: Collector, model: Path) -> None:
    with running_service(model) as client:
        answers = [client.post("/score", json=RED), client.get("/nowhere?secret"), client.get("/healthz")]
    served = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert [span.name for span in served] == ["POST /score", "GET unknown"]
    assert [span.trace_id.hex() for span in served] == [answer.headers["x-request-id"] for answer in answers[:2]]
    assert not any(span.parent_span_id for span in served)
    assert "secret" not in str(collector.requests)


def test_a_failed_request_is_a_failed_span(collector: Collector, tmp_path: Path) -> None:
    with running_service(nan_for_white(tmp_path / "model.onnx")) as client:
        client.post("/score", json={"image_in_base64": base64.b64encode(solid((255, 255, 255))).decode()})
    (server,) = (span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert server.status.code == Status.STATUS_CODE_ERROR


def test_a_caller_who_does_not_sample_is_not_traced(collector: Collector, model: Path) -> None:
    with running_service(model) as client:
        answer = client.post("/score", json=RED, headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"})
    assert answer.headers["x-request-id"] == TRACE_ID
    assert collector.spans == []


def test_the_standard_variables_hold(collector: Collector, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "tableware")
    with running_service(model) as client:
        client.get("/model")
    assert collector.service_names == {"tableware"}


@pytest.mark.parametrize(
    ("name", "value", "warns"),
    [
        ("OTEL_SDK_DISABLED", "true", False),
        ("OTEL_TRACES_EXPORTER", "none", False),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", True),
    ],
)
def test_what_is_switched_off_or_not_there_is_not_started(
    name: str, value: str, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    assert start_tracing() is None
    assert ("grpc" in caplog.text) == warns


SECRET = "tok3n-of-the-collector"


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
@pytest.mark.parametrize(
    "value",
    [
        *(SECRET, f"Bearer {SECRET}", f"={SECRET}", f"authorization: {SECRET}", f"a=b,{SECRET}", f"{SECRET}=a;b"),
        *(f"x y={SECRET}", f"authorization={SECRET}\nx", f"a=%0A{SECRET}", f"a={SECRET}\u20ac", f"a={SECRET}%E2%82%AC"),
        f'{{"authorization": "{SECRET}"}}',
    ],
)
def test_headers_that_are_none_are_named_and_never_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What should have been a header is a key of the collector."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    assert start_tracing() is None
    assert f"no traces are sent: {name}" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "value", [f"Authorization=Bearer {SECRET}\n", f" a=1 , authorization=Bearer%20{SECRET}==,", f"a={SECRET}", "", "a="]
)
def test_headers_in_any_form_that_the_exporter_reads_are_sent(
    value: str, collector: Collector, model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", value)
    with running_service(model) as client:
        client.get("/model")
    assert collector.spans
    assert caplog.text.count("traces are sent") == 0
    if "uthorization" in value:
        assert any(SECRET in headers.get("authorization", "") for headers in collector.headers)


def test_an_endpoint_without_a_scheme_is_named_and_its_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"user:{SECRET}@collector:4318")
    assert start_tracing() is None
    assert "OTEL_EXPORTER_OTLP_ENDPOINT does not begin with http://" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.slow
def test_a_collector_that_is_away_costs_no_answer_and_does_not_hold_up_the_end(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with caplog.at_level(logging.CRITICAL), running_service(model) as client:
        assert {client.post("/score", json=RED).status_code for _ in range(20)} == {200}
        ending = time.monotonic()
    assert time.monotonic() - ending < 6


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)


def test_without_a_collector_the_sdk_is_not_even_imported() -> None:
    script = (
        "import sys, service.__main__; from service.telemetry.tracing import *; print(start_tracing(), *sys.modules)"
    )
    printed = run_python(script).stdout.split()
    assert printed[0] == "None"
    assert "service.telemetry.tracing" in printed
    assert "opentelemetry.sdk" not in printed


def test_without_the_extra_a_warning_says_what_to_install() -> None:
    absent = "import sys; sys.modules['opentelemetry.exporter'] = None; "
    script = absent + "from service.telemetry.tracing import *; print(start_tracing())"
    ran = run_python(script, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert ran.stdout == "None\n"
    assert "pip install -e '.[tracing]'" in ran.stderr
