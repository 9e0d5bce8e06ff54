import asyncio
import threading
from collections.abc import Iterator

import onnxruntime as ort
import pytest

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.pixels import Limits
from service.errors import ScoringError
from service.scoring.encoded import Encoded
from service.scoring.model import Model, Pixels, load_model
from service.scoring.outcome import LOGITS, Batch, Outputs, Wanted
from service.scoring.scorer import Scorer
from tests.support.images import photo, solid
from tests.support.models import probe


class HeldModel(Model):
    """The probe, whose runs wait until they are let go, and tell in which order they came."""

    gate: threading.Semaphore
    order: list[float]

    def run(
        self,
        pixels: Pixels,
        wanted: Wanted = LOGITS,
        *,
        alone: bool = False,
        options: ort.RunOptions | None = None,
    ) -> Batch:
        """Score when let go."""
        self.gate.acquire()
        batch = super().run(pixels, wanted, alone=alone, options=options)
        self.order.append(round(float(batch["logits"][0, 0]), 2))
        return batch


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(str(probe(tmp_path_factory.mktemp("model") / "model.onnx")), "cpu", 2)


@pytest.fixture
def held(model: Model) -> HeldModel:
    held = HeldModel(**vars(model))
    object.__setattr__(held, "gate", threading.Semaphore(0))
    object.__setattr__(held, "order", [])
    return held


@pytest.fixture
def one_thread(held: HeldModel, decoders: Decoders) -> Iterator[Scorer]:
    scorer = Scorer(held, 1, 8, decoders)
    yield scorer
    held.gate.release(100)
    scorer.close()


def grey(level: int) -> bytes:
    return solid((level, level, level))


async def turns(count: int = 20) -> None:
    """Let every task that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_outcomes_come_in_the_order_of_the_images(model: Model, decoders: Decoders) -> None:
    scorer = Scorer(model, 2, 64, decoders)
    levels = list(range(0, 250, 10))
    outcomes = [result.outcome for result in await scorer.score([grey(level) for level in levels])]
    scorer.close()
    assert [round(float(one.logits[0]) * 255) for one in outcomes if isinstance(one, Outputs)] == levels


@pytest.mark.anyio
async def test_a_single_image_does_not_wait_behind_a_whole_list(one_thread: Scorer, held: HeldModel) -> None:
    long = asyncio.create_task(one_thread.score([grey(0)] * 6))
    await turns()
    short = asyncio.create_task(one_thread.score([grey(255)]))
    await turns()
    held.gate.release(7)
    await asyncio.gather(long, short)
    assert held.order.index(1.0) <= 2


@pytest.mark.anyio
async def test_images_over_the_limit_are_refused_at_once_with_a_time_to_come_back(
    one_thread: Scorer, held: HeldModel
) -> None:
    waiting = asyncio.create_task(one_thread.score([grey(1)] * 6))
    await turns()
    with pytest.raises(ScoringError) as caught:
        await one_thread.score([grey(2)] * 3)
    assert caught.value.kind == "overloaded"
    assert caught.value.headers == {"Retry-After": "1"}
    assert "limit is 8" in caught.value.detail
    held.gate.release(8)
    assert len(await one_thread.score([grey(3)] * 2)) == 2
    assert len(await waiting) == 6


@pytest.mark.anyio
async def test_images_of_a_request_that_was_given_up_are_not_scored(one_thread: Scorer, held: HeldModel) -> None:
    given_up = asyncio.create_task(one_thread.score([grey(0)] * 8))
    await turns()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    held.gate.release(100)
    await one_thread.score([grey(255)] * 7)
    assert held.order.count(0.0) <= 1


@pytest.mark.anyio
async def test_each_broken_image_is_its_own_error(model: Model) -> None:
    images: list[Encoded] = [grey(9), b"", "====", photo(40, 30)[:200], b"x" * 10_001]
    with Decoders(Limits(max_bytes=10_000)) as decoders:
        scorer = Scorer(model, 2, 64, decoders)
        outcomes = [result.outcome for result in await scorer.score(images)]
        scorer.close()
    kinds = [outcome.kind if isinstance(outcome, ScoringError) else "scored" for outcome in outcomes]
    assert kinds == ["scored", "undecodable-image", "undecodable-image", "undecodable-image", "image-too-large"]


@pytest.mark.anyio
async def test_an_unforeseen_failure_is_that_images_error_and_the_thread_goes_on(
    model: Model, decoders: Decoders, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Model):
        def run(
            self,
            pixels: Pixels,
            wanted: Wanted = LOGITS,
            *,
            alone: bool = False,
            options: ort.RunOptions | None = None,
        ) -> Batch:
            """Fail for black."""
            if not pixels.any():
                raise ZeroDivisionError("a fault of ours")
            return super().run(pixels, wanted, alone=alone, options=options)

    scorer = Scorer(Failing(**vars(model)), 1, 64, decoders)
    black, white = [result.outcome for result in await scorer.score([grey(0), grey(255)])]
    scorer.close()
    assert isinstance(black, ScoringError)
    assert (black.kind, "ours" in black.detail) == ("internal", False)
    assert isinstance(white, Outputs)
    assert "a fault of ours" in caplog.text
