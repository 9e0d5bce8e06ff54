import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loadtest.capacity import Capacity, Search, Step, find, lines, plan
from loadtest.errors import LoadTestError
from loadtest.results.result import GeneratorUse, Latency, Result
from loadtest.results.scrape import ServiceUse
from tests.loadtest.stub import Stub, running


def measured(rate: float, limit: float, cpu_share: float = 0.1) -> Result:
    """What a service with that limit gives."""
    holds, ms = rate <= limit and cpu_share < 0.9, 10.0
    return Result(
        verdict="passed" if holds else "failed",
        reasons=[] if holds else ["p99 is over"],
        host="http://127.0.0.1:1",
        loop="open",
        shape="constant",
        users=1,
        mix={"base64": 1},
        images="vga=1",
        warm_up_seconds=0,
        measured_seconds=1,
        offered_rate=rate,
        achieved_rate=rate,
        images_per_second=rate,
        requests=1,
        failures=0,
        error_rate=0,
        latency_ms=Latency(mean=ms, p50=ms, p90=ms, p95=ms, p99=ms, p999=ms, max=ms),
        kinds=[],
        failure_reasons={},
        service=ServiceUse(
            seconds=1,
            cpu_cores=2,
            memory_bytes=1,
            queue_images=0,
            images_per_second=rate,
            stage_ms={"queue": 4, "total": 9},
        ),
        service_points=[],
        generator=GeneratorUse(processes=1, cpu_share=cpu_share, memory_bytes=1, delay_p99_ms=None),
        points=[],
    )


def searched(limit: float, start: float = 8, generator_limit: float = 1e9, repeats: int = 2) -> Capacity:
    def measure(rate: float) -> Result:
        return measured(rate, limit, 0.95 if rate > generator_limit else 0.1)

    steps: list[Step] = []
    found = find("http://127.0.0.1:1", 100, Search(measure, steps.append), start=start, precision=0.05, repeats=repeats)
    assert found.steps == steps
    return found


def test_where_nothing_answers_the_search_ends_after_one_run() -> None:
    tried: list[float] = []

    def measure(rate: float) -> Result:
        tried.append(rate)
        none = {"failures": 1, "failure_reasons": {"connection refused": 3, "timeout": 1}}
        return measured(rate, 0).model_copy(update=none)

    with pytest.raises(LoadTestError, match=r"No request to .*1:1 had an answer \(connection refused\)"):
        find("http://127.0.0.1:1", 100, Search(measure, lambda _: None), start=8, precision=0.05, repeats=2)
    assert tried == [8]


@pytest.mark.parametrize("limit", [0.7, 7, 8, 200, 1234])
def test_a_limit_is_found_from_above_and_below(limit: float) -> None:
    found = searched(limit)
    assert found.images_per_second is not None
    assert limit / 1.06 <= found.images_per_second <= limit
    assert len(found.images_per_second_each) == 2


def test_an_objective_that_is_never_held_has_no_capacity_and_no_plan() -> None:
    found = searched(0)
    assert found.images_per_second is None
    assert plan(found, 100, 0.7) is None
    assert "did not hold its objective" in "".join(lines(found))


def test_a_generator_that_is_the_bottleneck_gives_a_lower_bound() -> None:
    found = searched(1000, generator_limit=100)
    assert found.generator_limited
    assert found.images_per_second == 64
    assert "at least 64.0 images/s" in "".join(lines(found))


def test_a_wanted_rate_becomes_replicas_and_hpa_targets() -> None:
    found = searched(100, start=100)
    made = plan(found, 700, 0.7)
    assert made is not None
    assert (made.replicas, made.cpu_average_value, made.images_per_second_per_replica) == (10, "1400m", 70)
    text = "\n".join(lines(found.model_copy(update={"plan": made})))
    assert "replicas: 10" in text
    assert "averageValue 1400m" in text
    assert "queue 4.0, network and generator 1.0" in text


def command(url: str, *options: str) -> list[str]:
    line = [sys.executable, "-m", "salver", "loadtest", "capacity", "--url", url, "--sizes", "thumbnail=1"]
    return [*line, "--warm-up", "1", "--arrivals", "constant", *options]


@pytest.mark.soak
def test_the_capacity_of_a_stub_with_a_known_limit_is_found_within_a_tenth(tmp_path: Path) -> None:
    options = ["--slo-p99-ms", "250", "--seconds", "4", "--start", "60", "--precision", "0.08", "--repeats", "1"]
    with running(Stub(seconds=0.05, workers=6)) as stub:
        line = command(stub.url, *options, "--rate", "1000", "--json", "--out", str(tmp_path))
        ended = subprocess.run(line, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = Capacity.model_validate(json.loads(ended.stdout))
    assert found.images_per_second == pytest.approx(6 / 0.051, rel=0.1), ended.stderr
    assert found.plan is not None
    assert found.plan.cpu_average_value is None
    assert {path.name for path in tmp_path.iterdir()} == {"capacity.json", "report.html"}


@pytest.mark.slow
def test_an_interrupted_search_says_what_held_and_ends_its_locust() -> None:
    with running(Stub(seconds=0.01)) as stub:
        line = command(stub.url, "--start", "130", "--seconds", "1", "--slo-p99-ms", "2000")
        with subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as search:
            assert search.stderr is not None
            assert "holds" in search.stderr.readline()
            search.send_signal(signal.SIGINT)
            _, words = search.communicate(timeout=60)
    assert search.returncode == 130
    assert "the highest rate that held so far: 130.0 requests/s" in words
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [words for words in lines if stub.url in words]


@pytest.mark.slow
def test_a_wrong_option_ends_with_its_reason_alone() -> None:
    ended = subprocess.run(command("http://127.0.0.1:1", "--mix", "base65=1"), capture_output=True, text=True)
    assert ended.returncode == 1
    assert "--mix has 'base65=1'" in ended.stderr
    assert "Traceback" not in ended.stderr
