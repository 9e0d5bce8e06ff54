"""The API against its own description: what the schema allows, and much that it does not, gets a described answer."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import TypeAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.api.v2.routes import Failure
from service.errors import Problem
from tests.support.images import solid
from tests.support.live import running_service
from tests.support.models import probe

HEADERS = {401: {"WWW-Authenticate"}, 405: {"Allow"}, 429: {"Retry-After"}}
DESCRIBED_HEADERS = {"401": HEADERS[401], "429": HEADERS[429], "4XX": HEADERS[401] | HEADERS[429]}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

pytestmark = [pytest.mark.slow, pytest.mark.server]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(probe(tmp_path_factory.mktemp("model") / "model.onnx"), url_fetch="off") as client:
        yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """With a key and a small limit."""
    model = probe(tmp_path_factory.mktemp("model") / "model.onnx")
    with running_service(model, api_keys="one", max_body_bytes=100_000) as client:
        yield client


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_gets_a_500_or_an_answer_that_is_not_described(client: httpx.Client, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not len(operation.body):
            continue  # there is nothing that a caller could get wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def send(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(base_url=str(client.base_url), checks=CHECKS)

        send()


def test_every_error_answer_is_described_as_a_problem_and_those_of_v2_in_its_own_form(client: httpx.Client) -> None:
    seen = set()
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        form = ("application/json", "Failure") if path.startswith("/v2") else ("application/problem+json", "Problem")
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                assert "X-Request-Id" in answer["headers"], (path, status)
            errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            seen |= set(errors)
            for status, answer in errors.items():
                assert answer["content"] == {form[0]: {"schema": {"$ref": f"#/components/schemas/{form[1]}"}}}, path
                assert set(DESCRIBED_HEADERS.get(status, ())) <= set(answer["headers"]), path
    assert seen >= {"400", "401", "404", "409", "413", "415", "422", "424", "429", "500", "503", "504", "4XX", "5XX"}


@pytest.mark.parametrize(
    ("method", "path", "content_type", "body", "status"),
    [
        ("POST", "/score", "application/json", b"{", 400),
        ("GET", "/model", None, b"", 401),
        ("GET", "/nowhere", None, b"", 404),
        ("POST", "/model/reload", None, b"", 404),
        ("GET", "/score", None, b"", 405),
        ("DELETE", "/model", None, b"", 405),
        ("POST", "/score", "application/json", b" " * 100_001, 413),
        ("POST", "/score", "text/plain", b"x", 415),
        ("POST", "/score", "application/json", b"[]", 422),
        ("POST", "/score", "image/png", b"x", 422),
        ("POST", "/score", "application/json", b'[{"image_url": "http://127.0.0.1:1/"}]', 422),
        ("GET", "/v2/models/salver", None, b"", 401),
        ("POST", "/v2/models/salver/infer", "application/json", b"{", 400),
        ("POST", "/v2/models/salver/infer", "application/json", b"{}", 422),
        ("POST", "/v2/models/salver/infer", "text/plain", b"x", 415),
        ("POST", "/v2/models/other/infer", "application/json", b"{}", 404),
        ("GET", "/v2/nowhere", None, b"", 404),
        ("DELETE", "/v2", None, b"", 405),
    ],
)
def test_an_error_that_is_sent_has_the_described_form(
    locked: httpx.Client, method: str, path: str, content_type: str | None, body: bytes, status: int
) -> None:
    headers = {} if status == 401 else {"Authorization": "Bearer one"}
    headers |= {"Content-Type": content_type} if content_type else {}
    answer = locked.request(method, path, content=body, headers=headers)
    in_protocol = path.startswith("/v2")
    media_type = "application/json" if in_protocol else "application/problem+json"
    assert (answer.status_code, answer.headers["content-type"]) == (status, media_type)
    assert {name.lower() for name in HEADERS.get(status, set()) | {"X-Request-Id"}} <= set(answer.headers)
    if in_protocol:
        detail = Failure.model_validate_json(answer.content, strict=True, extra="forbid").error
    else:
        problem = TypeAdapter(Problem).validate_json(answer.content, strict=True, extra="forbid")
        assert problem["status"] == status
        detail = problem["detail"]
    assert detail.endswith(".")


def test_a_described_request_is_answered_with_the_described_headers(client: httpx.Client) -> None:
    """What generated requests hardly ever hold: a picture."""
    item = {"image_in_base64": base64.b64encode(solid((1, 2, 3))).decode(), "parameters": {"add_softmax": True}}
    answer = client.post("/score", json=[item])
    described = client.get("/openapi.json").json()["paths"]["/score"]["post"]["responses"]["200"]
    assert answer.status_code == 200
    assert {name.lower() for name in described["headers"]} <= set(answer.headers)
    assert {"x-model-version", "x-request-id", "server-timing"} <= {name.lower() for name in described["headers"]}
