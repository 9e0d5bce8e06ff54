"""After failures in a row the test card decides whether the service is ready."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.manifest import OUTPUT_NAME
from service.app import create_app
from service.errors import ScoringError
from service.limits.request import Keys
from service.scoring.health import SUSPECT
from service.scoring.model import Model, Pixels, load_model
from service.scoring.outcome import LOGITS, Batch, Outputs, Wanted
from service.scoring.scorer import Scorer
from service.scoring.served import ServedModel
from service.service import Service
from service.settings import Settings
from tests.support.images import solid
from tests.support.models import Constants, nan_for_white, probe, write

pytestmark = pytest.mark.anyio

RED, WHITE = solid((200, 30, 40)), solid((255, 255, 255))


class BreakableModel(Model):
    """The probe, which can be broken and repaired."""

    fault: list[str]

    def run(
        self,
        pixels: Pixels,
        wanted: Wanted = LOGITS,
        *,
        alone: bool = False,
        options: ort.RunOptions | None = None,
    ) -> Batch:
        """Score unless there is a fault."""
        if self.fault:
            raise ScoringError("inference-failed", self.fault[0])
        return super().run(pixels, wanted, alone=alone, options=options)


@pytest.fixture
def model(tmp_path: Path) -> BreakableModel:
    model = BreakableModel(**vars(load_model(str(probe(tmp_path / "model.onnx")), "cpu", 1)))
    object.__setattr__(model, "fault", [])
    return model


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scoring.health.RETEST_SECONDS", 0.01)


@pytest.fixture
async def live(model: BreakableModel, decoders: Decoders) -> AsyncIterator[ServedModel]:
    live = ServedModel(model, Scorer(model, 1, 256, decoders))
    yield live
    await live.retire()


@pytest.fixture
async def client(live: ServedModel) -> AsyncIterator[httpx.AsyncClient]:
    service = Service(Settings.model_validate({"model": "model.onnx"}), Keys([]))
    service.models.live = live
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(service)), base_url="http://salver"
    ) as client:
        yield client


async def score(client: httpx.AsyncClient, image: bytes) -> int:
    answer = await client.post("/score", content=image, headers={"Content-Type": "image/png"})
    return answer.status_code


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


async def becomes(client: httpx.AsyncClient, status: int) -> bool:
    for _ in range(500):
        if (await client.get("/readyz")).status_code == status:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_model_that_fails_on_its_test_card_too_is_not_ready_until_it_passes(
    client: httpx.AsyncClient, model: BreakableModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    model.fault.append("The device is lost.")
    assert {await score(client, RED) for _ in range(SUSPECT - 1)} == {500}
    assert await becomes(client, 200)
    assert await score(client, RED) == 500
    assert await becomes(client, 503)
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).json()["detail"] == "The service is failing."
    model.fault.clear()
    assert await becomes(client, 200)
    assert await score(client, RED) == 200
    assert [record.message.partition(":")[0] for record in caplog.records if record.name == "salver.service"] == [
        "not ready",
        "ready again",
    ]


async def test_a_success_in_between_begins_the_count_anew(live: ServedModel, model: BreakableModel) -> None:
    for _ in range(3):
        model.fault.append("once")
        await live.score([RED] * (SUSPECT - 1))
        model.fault.clear()
        await live.score([RED])
    assert live.health._testing is None


def unable_for_white(path: Path) -> Path:
    """A model that cannot be run on an all-white image: it looks up row 1 of a table of one row."""
    constants: Constants = {
        "over": np.float32(1 / 255),
        "middle": np.array([1, 2]),
        "table": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["scaled", "middle"], ["colour"], keepdims=0),
        helper.make_node("Cast", ["colour"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["nothing"]),
        helper.make_node("Add", ["colour", "nothing"], [OUTPUT_NAME]),
    ]
    return write(path, nodes, constants, ("a", "b", "c"))


@pytest.mark.parametrize("make", [unable_for_white, nan_for_white])
async def test_images_that_a_model_cannot_score_do_not_take_the_service_away_from_others(
    tmp_path: Path, make: Callable[[Path], Path], decoders: Decoders, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(str(make(tmp_path / "model.onnx")), "cpu", 1)
    live = ServedModel(model, Scorer(model, 1, 256, decoders))
    for _ in range(3):
        results = await live.score([WHITE] * SUSPECT)
        assert {result.outcome.kind for result in results if isinstance(result.outcome, ScoringError)} == {
            "inference-failed"
        }
        await until(lambda: live.health._testing is None)
        assert not live.health.failing
    (good,) = await live.score([RED])
    assert isinstance(good.outcome, Outputs)
    await live.retire()
    assert caplog.records == []


async def test_a_service_that_is_being_retired_tests_no_more(model: BreakableModel, decoders: Decoders) -> None:
    live = ServedModel(model, Scorer(model, 1, 256, decoders))
    model.fault.append("for good")
    await live.score([RED] * SUSPECT)
    await until(lambda: live.health.failing)
    await asyncio.wait_for(live.retire(), 5)
