"""Bytes that nobody meant: only our own errors come out, in bounded time and memory."""

import contextlib
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.artifact.bounds.model_bytes import read_graph
from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import METADATA_KEY, Manifest
from service.scoring.model import ModelFile, open_model
from tests.prove.fuzzing.mutate import mutated
from tests.prove.fuzzing.seeds import write_seeds
from tests.support.images import solid
from tests.support.models import SPEC, manifest_for, probe
from tests.support.strangers import READERS_OF_FILES, reaches_out, strange

ROOT = Path(__file__).parents[3]
VALID = manifest_for(("a", "b"), SPEC, solid((200, 30, 40)), [1.0, 2.0]).to_metadata()[METADATA_KEY]
SLOWEST_SECONDS, MOST_MEMORY_MB, PROCESSES = 10, 1500, 2


def changed(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """The same with some bytes replaced, each change at a share of the length."""
    for place, length, new in changes:
        at = int(place * len(data))
        data = data[:at] + new + data[at + length :]
    return data


CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx").read_bytes()


@settings(max_examples=200, deadline=None, database=None)
@given(CHANGES)
def test_a_manifest_of_any_bytes_is_read_or_refused_in_one_short_line(changes: list[tuple[float, int, bytes]]) -> None:
    text = changed(VALID.encode(), changes).decode("utf-8", "replace")
    told = ""
    try:
        Manifest.from_metadata({METADATA_KEY: text})
    except ModelFileError as error:
        told = str(error)
    assert len(told) < 1000


@settings(max_examples=150, deadline=None, database=None)
@given(CHANGES)
def test_a_model_file_of_any_bytes_is_opened_or_refused(model: bytes, changes: list[tuple[float, int, bytes]]) -> None:
    with contextlib.suppress(ModelFileError):
        open_model(ModelFile("model.onnx", changed(model, changes), ""), "cpu", 1)


def test_no_change_of_a_files_fields_lets_it_reach_out_or_takes_long(tmp_path: Path, model: bytes) -> None:
    """What the walk takes, the package `onnx` finds in order; and most changes are no mere noise to protobuf."""
    chance = random.Random(17)
    seeds = [model, *(strange(tmp_path / "m.onnx", edit).read_bytes() for edit in READERS_OF_FILES.values())]
    taken = understood = 0
    for _ in range(2000):
        data = chance.choice([model, chance.choice(seeds)])
        for _ in range(chance.randrange(1, 3)):
            data = mutated(data, chance)
        begun, told = time.process_time(), ""
        try:
            read_graph(data)
        except ModelFileError as error:
            told = str(error)
        assert len(told) < 1000
        assert not told or told.isprintable()
        if not told:
            taken += 1
            with contextlib.suppress(DecodeError):
                assert not reaches_out(onnx.load_model_from_string(data))
        assert time.process_time() - begun < 1
        with contextlib.suppress(DecodeError):
            onnx.load_model_from_string(data)
            understood += 1
    assert taken > 100
    assert understood > 1000


@pytest.mark.prove
@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    ("target", "seconds"), [("pixels", 300), ("body", 45), ("manifest", 15), ("graph", 45), ("model", 45)]
)
def test_coverage_guided_fuzzing_finds_nothing_but_our_own_errors(
    tmp_path: Path, target: str, seconds: int, record_property: Callable[[str, object], None]
) -> None:
    """With atheris, as processes side by side that share a corpus, so that each goes on from what the others found.

    onnxruntime's and Pillow's compiled code is run but gives it no hints.
    """
    pytest.importorskip("atheris", reason="atheris has wheels for Linux on x86-64 only")
    write_seeds(tmp_path / "corpus", target)
    command = [
        sys.executable,
        "-m",
        "tests.prove.fuzzing.fuzz",
        target,
        str(tmp_path / "corpus"),
        "-print_final_stats=1",
    ]
    command += [f"-max_total_time={seconds}", f"-timeout={SLOWEST_SECONDS}", f"-rss_limit_mb={MOST_MEMORY_MB}"]
    command += ["-max_len=200000", f"-artifact_prefix={tmp_path}/"]

    def fuzz(seed: int) -> int:
        """How many inputs it tried."""
        one = [*command, f"-seed={seed}"]
        done = subprocess.run(one, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return int(re.findall(r"number_of_executed_units: (\d+)", done.stderr)[0])

    with ThreadPoolExecutor(PROCESSES) as pool:
        tried = list(pool.map(fuzz, range(1, PROCESSES + 1)))
    record_property("tried", f"{sum(tried):,} inputs by {PROCESSES} processes of {seconds} s side by side")
    record_property("lost", "nothing")
    assert min(tried) > 10
