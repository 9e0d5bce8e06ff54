import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME
from salver.artifact.pixels import Limits
from service.errors import ScoringError
from service.scoring.batcher import BatchScorer, make_scorer
from service.scoring.encoded import Encoded
from service.scoring.model import Model, Pixels, load_model
from service.scoring.outcome import LOGITS, Batch, Outcome, Outputs, Wanted
from service.scoring.runner import Bucket, Runner
from service.scoring.scorer import Result, Scorer, Ticket
from service.settings import Settings
from tests.support.images import photo, solid
from tests.support.live import running_service
from tests.support.models import Constants, nan_for_white, probe, write

pytestmark = [pytest.mark.anyio, pytest.mark.server]

LARGEST = 4


class HeldRunner(Runner):
    """Batches of up to 4 that wait until they are let go; keeps the grey levels of each."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.batches: list[list[int]] = []

    def seconds(self, bucket: Bucket) -> float:
        """Made up: larger batches are always worth it, whatever this machine does."""
        return 1 / bucket.size

    def run(self, images: Sequence[Pixels], wanted: Wanted = LOGITS, options: ort.RunOptions | None = None) -> Batch:
        """Run when let go."""
        self.batches.append([int(image[0, 0, 0]) for image in images])
        self.begun.release()
        self.gate.acquire()
        return super().run(images, wanted, options)


class Watched(BatchScorer):
    """Says when an image is decoded and waits for its batch."""

    def __init__(
        self, runner: HeldRunner, model: Model, threads: int, max_queue_images: int, decoders: Decoders
    ) -> None:
        self.decoded = threading.Semaphore(0)
        self.runner = runner
        self.sizes: list[int] = []
        super().__init__(
            model,
            runner,
            threads=threads,
            max_queue_images=max_queue_images,
            decoders=decoders,
            on_batch=self.sizes.append,
        )

    def _decode(self, ticket: Ticket) -> None:
        super()._decode(ticket)
        self.decoded.release()


Start = Callable[..., Watched]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(str(probe(tmp_path_factory.mktemp("model") / "model.onnx")), "cpu", 1)


@pytest.fixture
def start(model: Model) -> Iterator[Start]:
    """Make scorers, whose batches are held; in the end they are let go and closed."""
    scorers: list[Watched] = []

    def start(model: Model = model, threads: int = 2, max_queue_images: int = 64) -> Watched:
        scorers.append(Watched(HeldRunner.warmed(model, LARGEST), model, threads, max_queue_images, decoders))
        return scorers[-1]

    with Decoders(Limits(max_bytes=10_000)) as decoders:
        yield start
        for scorer in scorers:
            scorer.runner.gate.release(1000)
            scorer.close()


def grey(level: int) -> bytes:
    return solid((level, level, level))


def send(scorer: BatchScorer, *images: Encoded) -> asyncio.Task[list[Result]]:
    return asyncio.create_task(scorer.score(images))


async def times(semaphore: threading.Semaphore, count: int) -> None:
    """Wait until it was released so many times."""
    for _ in range(count):
        assert await asyncio.to_thread(semaphore.acquire, timeout=20)


def levels(results: Sequence[Result]) -> list[int]:
    """The grey levels that the probe saw."""
    return [round(float(r.outcome.logits[0]) * 255) if isinstance(r.outcome, Outputs) else -1 for r in results]


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.kind if isinstance(outcome, ScoringError) else "scored" for outcome in outcomes]


async def test_outcomes_come_in_the_order_of_the_images(start: Start) -> None:
    scorer = start()
    scorer.runner.gate.release(1000)
    wanted = list(range(0, 250, 10))
    assert levels(await scorer.score([grey(level) for level in wanted])) == wanted


async def test_a_lone_image_is_run_at_once(start: Start) -> None:
    scorer = start()
    scorer.runner.gate.release(2)
    for level in (7, 8):
        assert levels(await scorer.score([grey(level)])) == [level]
    assert scorer.runner.batches == [[7], [8]]


async def test_what_arrives_while_a_batch_runs_is_the_next_batch(start: Start) -> None:
    scorer = start()
    first = send(scorer, grey(1))
    await times(scorer.runner.begun, 1)
    others = [send(scorer, grey(level)) for level in (2, 3, 4)]
    await times(scorer.decoded, 4)
    scorer.runner.gate.release(2)
    assert [levels(results) for results in await asyncio.gather(first, *others)] == [[1], [2], [3], [4]]
    assert [sorted(batch) for batch in scorer.runner.batches] == [[1], [2, 3, 4]]
    assert scorer.sizes == [1, 3]


async def test_no_batch_is_larger_than_the_largest_that_was_warmed(start: Start) -> None:
    scorer = start()
    first = send(scorer, grey(1))
    await times(scorer.runner.begun, 1)
    others = send(scorer, *[grey(level) for level in range(10, 30)])
    await times(scorer.decoded, 1 + LARGEST)
    scorer.runner.gate.release(1000)
    assert levels(await others) == list(range(10, 30))
    assert levels(await first) == [1]
    assert max(len(batch) for batch in scorer.runner.batches) == LARGEST


async def test_a_single_image_does_not_wait_behind_a_whole_list(start: Start) -> None:
    scorer = start(threads=1)
    first = send(scorer, grey(1))
    await times(scorer.runner.begun, 1)
    long = send(scorer, *[grey(0)] * 30)
    await times(scorer.decoded, 1 + LARGEST)
    short = send(scorer, grey(255))
    await asyncio.sleep(0)
    scorer.runner.gate.release(1000)
    await asyncio.gather(first, long, short)
    order = [level for batch in scorer.runner.batches for level in batch]
    # Before it: the batch that ran, the one that had gathered, the one in the decoder's hand, the list's turn.
    assert order.index(255) <= 1 + LARGEST + 1 + 1


async def test_images_over_the_limit_are_refused(start: Start) -> None:
    scorer = start(max_queue_images=8)
    waiting = send(scorer, *[grey(1)] * 6)
    await times(scorer.runner.begun, 1)
    with pytest.raises(ScoringError, match="limit is 8") as caught:
        await scorer.score([grey(2)] * 3)
    assert caught.value.kind == "overloaded"
    scorer.runner.gate.release(1000)
    assert len(await waiting) == 6


async def test_images_of_a_request_that_was_given_up_are_not_run(start: Start) -> None:
    scorer = start(max_queue_images=8)
    first = send(scorer, grey(1))
    await times(scorer.runner.begun, 1)
    given_up = send(scorer, *[grey(2)] * 7)
    await times(scorer.decoded, 1 + LARGEST)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    scorer.runner.gate.release(1000)
    assert levels(await first) == [1]
    assert levels(await scorer.score([grey(3)])) == [3]
    assert 2 not in [level for batch in scorer.runner.batches for level in batch]
    assert levels(await scorer.score([grey(4)] * 6)) == [4] * 6


async def test_each_broken_image_is_its_own_error(start: Start) -> None:
    scorer = start()
    scorer.runner.gate.release(1000)
    results = await scorer.score([grey(9), b"", "====", photo(40, 30)[:200], b"x" * 10_001])
    assert kinds([result.outcome for result in results]) == [
        "scored",
        "undecodable-image",
        "undecodable-image",
        "undecodable-image",
        "image-too-large",
    ]


async def one_batch(scorer: Watched, images: Sequence[Encoded]) -> list[Outcome]:
    """The outcomes of up to 4 images that are run together."""
    first = send(scorer, grey(1))
    await times(scorer.runner.begun, 1)
    together = send(scorer, *images)
    await times(scorer.decoded, 1 + len(images))
    scorer.runner.gate.release(1000)
    _, results = await asyncio.gather(first, together)
    assert len(scorer.runner.batches[1]) == len(images)
    return [result.outcome for result in results]


def fails_for_white(path: Path) -> Model:
    """A model that looks up three logits by the smallest byte, and whose run fails for 255."""
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["integers"], to=TensorProto.INT64),
        helper.make_node("ReduceMin", ["integers", "all"], ["smallest"], keepdims=0),
        helper.make_node("Gather", ["table", "smallest"], [OUTPUT_NAME], axis=0),
    ]
    constants: Constants = {
        "over": np.float32(1 / 255),
        "all": np.array([1, 2, 3]),
        "table": np.repeat(np.arange(255, dtype=np.float32)[:, np.newaxis], 3, axis=1),
    }
    return load_model(str(write(path, nodes, constants, ("a", "b", "c"))), "cpu", 1)


async def test_an_image_that_fails_its_batch_is_the_only_one_that_fails(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = start(fails_for_white(tmp_path / "model.onnx"))
    outcomes = await one_batch(scorer, [grey(10), grey(255), grey(20)])
    assert kinds(outcomes) == ["scored", "inference-failed", "scored"]
    assert [float(o.logits[0]) for o in outcomes if isinstance(o, Outputs)] == [10, 20]
    assert "a batch of 3 images failed" in caplog.text


async def test_pixels_of_another_shape_fail_alone(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = await one_batch(start(), [grey(10), np.zeros((1, 1, 3), np.uint8), grey(20)])
    assert kinds(outcomes) == ["scored", "internal", "scored"]
    assert "scoring an image failed" in caplog.text


async def test_logits_that_are_not_numbers_are_that_images_error(start: Start, tmp_path: Path) -> None:
    model = load_model(str(nan_for_white(tmp_path / "model.onnx")), "cpu", 1)
    outcomes = await one_batch(start(model), [grey(10), grey(255), grey(20)])
    assert kinds(outcomes) == ["scored", "inference-failed", "scored"]


async def test_a_result_tells_how_long_it_waited_was_decoded_and_was_run(start: Start) -> None:
    scorer = start()
    scorer.runner.gate.release(1)
    (result,) = await scorer.score([photo(300, 200)])
    assert min(result.queue_seconds, result.decode_seconds, result.inference_seconds) > 0


async def test_closing_finishes_what_is_here(start: Start) -> None:
    scorer = start()
    waiting = send(scorer, *[grey(level) for level in range(12)])
    await times(scorer.runner.begun, 1)
    closing = asyncio.create_task(asyncio.to_thread(scorer.close))
    scorer.runner.gate.release(1000)
    await closing
    assert levels(await waiting) == list(range(12))
    with pytest.raises(ScoringError, match="try again"):
        await scorer.score([grey(1)])


async def test_on_a_cpu_images_are_run_one_by_one(model: Model, decoders: Decoders) -> None:
    batches: list[int] = []
    scorer = make_scorer(model, Settings(model="unused"), 2, decoders=decoders, on_batch=batches.append)
    scorer.close()
    assert isinstance(scorer, Scorer)
    assert scorer.execution == "2 threads, one image each; a lone image on 2 cores"


async def test_what_was_chosen_is_told(start: Start) -> None:
    assert start(threads=3).execution == "batches of up to 4 on CPUExecutionProvider, 3 decoding threads"


def test_the_model_card_tells_how_images_are_run(tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx")) as client:
        card = client.get("/model").json()
    assert card["provider"] == "CPUExecutionProvider"
    assert "one image" in card["execution"]
