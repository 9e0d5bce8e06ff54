"""The API against its own description: what the schema allows, and much that it does not, gets a described answer."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.images import solid
from tests.live import running_service
from tests.models import probe

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(probe(tmp_path_factory.mktemp("model") / "model.onnx"), url_fetch="off") as client:
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


def test_every_error_answer_of_the_scoring_routes_is_a_problem(client: httpx.Client) -> None:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            for answer in errors.values() if not path.startswith("/v2") else ():
                assert list(answer["content"]) == ["application/problem+json"], path


def test_a_described_request_is_answered_with_the_described_headers(client: httpx.Client) -> None:
    """What generated requests hardly ever hold: a picture."""
    item = {"image_in_base64": base64.b64encode(solid((1, 2, 3))).decode(), "parameters": {"add_softmax": True}}
    answer = client.post("/score", json=[item])
    described = client.get("/openapi.json").json()["paths"]["/score"]["post"]["responses"]["200"]
    assert answer.status_code == 200
    assert {name.lower() for name in described["headers"]} <= set(answer.headers)
    assert {"x-model-version", "x-request-id", "server-timing"} <= {name.lower() for name in described["headers"]}
