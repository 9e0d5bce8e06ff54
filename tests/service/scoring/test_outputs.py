"""What the model gives besides logits: by which session, for whom, and what is no number."""

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import OUTPUT_NAMES
from salver.artifact.pixels import Limits
from service.errors import ScoringError
from service.scoring.batcher import BatchScorer
from service.scoring.device import Provider, new_session
from service.scoring.model import Model, load_model
from service.scoring.outcome import LOGITS, Outcome, Outputs, Wanted, held_bytes, outputs_of
from service.scoring.runner import Runner
from service.scoring.scorer import Scorer
from service.scoring.served import ServedModel
from tests.support.complete import BIAS, CELLS, COLOURS, complete
from tests.support.images import photo, solid
from tests.support.models import SPEC, probe

ALL: Wanted = frozenset(OUTPUT_NAMES)
RED, GREEN, GREY = solid((200, 30, 40)), solid((20, 180, 60)), solid((90, 90, 90))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(str(complete(tmp_path / "model.onnx")), "cpu", 2)


def some_pixels(images: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (images, SPEC.height, SPEC.width, 3), dtype=np.uint8)


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_wanted_is_given_and_nothing_else(model: Model, *, alone: bool) -> None:
    pixels = some_pixels(3)
    assert set(model.run(pixels, alone=alone)) == {"logits"}
    batch = model.run(pixels, ALL, alone=alone)
    assert {name: values.shape for name, values in batch.items()} == {
        name: (3, *shape) for name, shape in model.manifest.outputs.items()
    }
    np.testing.assert_allclose(batch["logits"], model.run(pixels)["logits"], atol=1e-6)
    np.testing.assert_allclose(batch["heat"].mean(axis=(2, 3)) + BIAS, batch["logits"], atol=1e-5)


def test_lone_logits_run_a_graph_without_heat_which_is_opened_when_it_is_wanted(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for session in (model.session, model.lone_session):
        assert [output.name for output in session.get_outputs()] == ["logits", "features", "familiarity"]
    opened = []

    def counted(data: bytes, providers: list[Provider], threads: int) -> ort.InferenceSession:
        opened.append(threads)
        return new_session(data, providers, threads)

    monkeypatch.setattr("service.scoring.heat.new_session", counted)
    model.run(some_pixels(1), frozenset({"logits", "features", "familiarity"}))
    assert opened == []
    start = threading.Barrier(6)

    def run(_: int) -> float:
        start.wait(timeout=20)
        return float(model.run(some_pixels(1), ALL)["heat"].sum())

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(run, range(6)))) == 1
    assert opened == [1]
    assert model.heat_session is not None
    assert model.heat_session._data is None


def test_a_model_that_is_retired_lets_go_of_its_heat(model: Model) -> None:
    assert model.heat_session is not None
    session = weakref.ref(model.heat_session.opened())
    model.close()
    gc.collect()
    assert session() is None
    with pytest.raises(ScoringError, match="not served any more"):
        model.run(some_pixels(1), ALL)


@pytest.mark.anyio
async def test_retiring_closes_the_model_after_its_last_answer(model: Model, decoders: Decoders) -> None:
    live = ServedModel(model, Scorer(model, 1, 8, decoders))
    (result,) = await live.score([RED], [ALL])
    await live.retire()
    assert isinstance(result.outcome, Outputs)
    assert model.heat_session is not None
    assert (model.heat_session._session, model.heat_session._data) == (None, None)


def test_a_file_without_heat_has_no_session_for_it(tmp_path: Path) -> None:
    assert load_model(str(probe(tmp_path / "model.onnx")), "cpu", 1).heat_session is None


def test_a_manifest_that_promises_another_heat_than_the_graph_gives_is_refused(tmp_path: Path) -> None:
    path = complete(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.graph.output.pop()
    model.graph.output.append(helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["batch", 3, 2, 2]))
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match=r"inputs and outputs|cannot be loaded"):
        load_model(str(path), "cpu", 1)


@pytest.fixture(params=["cpu", "batches"])
def scorer(request: pytest.FixtureRequest, model: Model) -> Iterator[Scorer | BatchScorer]:
    """Both kinds, the one for a GPU on this machine's CPU."""
    with Decoders(Limits()) as decoders:
        made: Scorer | BatchScorer = (
            Scorer(model, 2, 64, decoders)
            if request.param == "cpu"
            else BatchScorer(
                model,
                Runner.warmed(model, 4),
                threads=2,
                max_queue_images=64,
                decoders=decoders,
                on_batch=lambda _: None,
            )
        )
        yield made
        made.close()


def given(outcome: Outcome) -> set[str]:
    assert isinstance(outcome, Outputs), outcome
    return {name for name in OUTPUT_NAMES if getattr(outcome, name) is not None}


@pytest.mark.anyio
async def test_each_image_of_a_request_gets_what_it_wants_with_its_header(scorer: Scorer | BatchScorer) -> None:
    features: Wanted = frozenset({"logits", "features"})
    familiarity: Wanted = frozenset({"logits", "familiarity"})
    wanted = [LOGITS, features, ALL, familiarity, LOGITS, features, ALL]
    files = [photo(40 + index, 30, seed=index) for index in range(len(wanted))]
    results = await scorer.score(files, wanted)
    assert [given(result.outcome) for result in results] == [set(each) for each in wanted]
    assert [result.header.width for result in results if result.header] == [40 + index for index in range(len(wanted))]
    alone = [(await scorer.score([file]))[0] for file in files]
    for result, lone in zip(results, alone, strict=True):
        assert isinstance(result.outcome, Outputs)
        assert isinstance(lone.outcome, Outputs)
        np.testing.assert_allclose(result.outcome.logits, lone.outcome.logits, atol=1e-5)
        if result.outcome.heat is not None:
            assert result.outcome.heat.shape == (len(COLOURS), CELLS, CELLS)
            sums = result.outcome.heat.mean(axis=(1, 2)) + BIAS
            np.testing.assert_allclose(sums, result.outcome.logits, atol=1e-5)


@pytest.mark.anyio
async def test_ready_pixels_have_no_header(scorer: Scorer | BatchScorer) -> None:
    (result,) = await scorer.score([some_pixels(1)[0]], [ALL])
    assert given(result.outcome) == set(OUTPUT_NAMES)
    assert result.header is None


@pytest.mark.anyio
async def test_an_image_without_features_fails_alone_and_only_where_they_are_wanted(
    scorer: Scorer | BatchScorer,
) -> None:
    wanted: list[Wanted] = [frozenset({"logits", name}) for name in ("features", "familiarity", "heat", "features")]
    results = await scorer.score([GREY, GREY, GREY, RED], wanted)
    outcomes = [result.outcome for result in results]
    assert [isinstance(outcome, ScoringError) for outcome in outcomes] == [True, True, False, False]
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, ScoringError)] == ["inference-failed"] * 2


FINE = {
    "logits": np.zeros((1, 2), np.float32),
    "features": np.ones((1, 3), np.float32),
    "familiarity": np.zeros(1, np.float32),
    "heat": np.zeros((1, 2, 1, 1), np.float32),
}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("logits", np.nan, "non-finite scores"),
        ("logits", np.inf, "non-finite scores"),
        ("features", np.nan, "non-finite features"),
        ("features", -np.inf, "non-finite features"),
        ("features", 0, "features that are all zero"),
        ("familiarity", np.nan, "no familiarity"),
        ("heat", np.nan, "non-finite heat map"),
    ],
)
def test_numbers_that_are_none_are_an_error_that_says_which(name: str, value: float, words: str) -> None:
    batch = FINE | {name: np.full_like(FINE[name], value)}
    with pytest.raises(ScoringError, match=words) as caught:
        outputs_of(batch, 0)  # type: ignore[arg-type]
    assert caught.value.kind == "inference-failed"


def test_what_is_held_for_an_answer_is_counted_by_what_is_wanted(model: Model) -> None:
    assert held_bytes(model.manifest, [LOGITS] * 9) == 0
    assert held_bytes(model.manifest, [LOGITS, ALL]) == 4 * (3 + 1 + 3 * CELLS * CELLS)
