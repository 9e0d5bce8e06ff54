from argparse import Namespace

import pytest

from loadtest.errors import LoadTestError
from loadtest.results import report
from loadtest.results.record import AFTER_THE_END, Generator, Record
from loadtest.results.result import Result, result_of
from loadtest.results.scrape import Sample, over, parse
from loadtest.results.text import summary
from loadtest.traffic.options import DEFAULT_MIX, DEFAULT_SIZES, Options, read, service_url, share
from loadtest.traffic.payload import TITLES, Kind

GOOD, BROKEN = TITLES[Kind.BASE64], TITLES[Kind.BROKEN]


FLOATS = ("rate", "error_rate", "min_rate", "think_seconds", "timeout", "p99_ms", "warm_up", "spawn_rate")
LOCUSTS: dict[str, object] = {"num_users": 4, "run_time": 12, "spawn_rate": None}


def parsed(**changes: object) -> Namespace:
    mine: dict[str, object] = {
        "rate": None, "arrivals": "poisson", "shape": "constant", "warm_up": 2.0, "think_seconds": 0.0,
        "mix": DEFAULT_MIX, "sizes": DEFAULT_SIZES, "images": None, "file_host": "127.0.0.1", "timeout": 30.0,
        "key": "", "p99_ms": None, "error_rate": 0.01, "min_rate": None, "metrics_url": "", "out": None, "result": None,
    }  # fmt: skip
    mine |= changes
    locusts = {name: mine.pop(name, default) for name, default in LOCUSTS.items()}
    return Namespace(**locusts, **{f"loadtest_{name}": value for name, value in mine.items()})


def options(**changes: object) -> Options:
    return read(parsed(**changes))


def recorded(a_second: int = 10, milliseconds: float = 20, failures: int = 0, cpu: float = 0.3) -> Record:
    """Twelve seconds; those of the warm-up are slow and fail."""
    record = Record(generators={"a": Generator(seconds=12, cpu_share=cpu, memory_bytes=2**20)})
    for second in range(12):
        for number in range(a_second):
            if second < 2:
                record.add_request(second, GOOD, 5000, 1, "warming up")
            else:
                record.add_request(second, GOOD, milliseconds, 1, "status 500" if number < failures else None)
        record.due[second] = a_second
    return record


def judged(record: Record, **changes: object) -> Result:
    return result_of(record, options(**changes), "http://127.0.0.1:1")


def test_the_warm_up_is_in_no_number() -> None:
    result = judged(recorded())
    assert (result.verdict, result.requests, result.failures) == ("passed", 100, 0)
    assert result.achieved_rate == result.images_per_second == pytest.approx(10)
    assert result.latency_ms is not None
    assert result.latency_ms.max == pytest.approx(20, rel=0.02)


def test_answers_after_the_end_count_into_the_latency_and_not_into_the_rate() -> None:
    record = recorded()
    record.add_request(AFTER_THE_END, GOOD, 3000, 1, None)
    result = judged(record)
    assert result.achieved_rate == pytest.approx(10)
    assert result.latency_ms is not None
    assert result.latency_ms.max == pytest.approx(3000, rel=0.02)


def test_fast_refusals_do_not_flatter_the_latency() -> None:
    record = recorded(milliseconds=100)
    for _ in range(1000):
        record.add_request(5, BROKEN, 1, 0, None)
    result = judged(record)
    assert result.latency_ms is not None
    assert result.latency_ms.p50 == pytest.approx(100, rel=0.02)
    assert result.images_per_second == pytest.approx(10)


@pytest.mark.parametrize(
    ("record", "changes", "verdict", "reason"),
    [
        (recorded(failures=1), {}, "failed", "10.00% of the requests failed"),
        (recorded(), {"p99_ms": 10.0}, "failed", "p99 20"),
        (recorded(milliseconds=20), {"p99_ms": 19.0, "rate": 10.0}, "failed", "ms is over 19 ms"),
        (recorded(), {"min_rate": 11.0}, "failed", "10.0 images/s are under 11"),
        (Record(), {"rate": 5.0}, "failed", "no request was answered"),
        (recorded(cpu=0.95), {}, "invalid", "the load generator was the bottleneck: it used 95% of its core"),
        (recorded(cpu=0.95), {"p99_ms": 10.0}, "invalid", "bottleneck"),
    ],
)
def test_a_gate_that_is_not_met_fails_and_a_busy_generator_is_invalid(
    record: Record, changes: dict[str, object], verdict: str, reason: str
) -> None:
    result = judged(record, **changes)
    assert result.verdict == verdict
    assert reason in result.reasons[0]
    assert reason in summary(result, options(**changes))


def test_lost_workers_make_a_run_invalid() -> None:
    assert result_of(recorded(), options(), "http://127.0.0.1:1", lost_workers=1).verdict == "invalid"


def test_an_offered_rate_that_was_not_reached_is_invalid() -> None:
    record = recorded()
    record.due = dict.fromkeys(range(12), 20)
    result = judged(record, rate=20.0)
    assert result.verdict == "invalid"
    assert result.offered_rate == pytest.approx(20)


def test_records_of_several_processes_add_up_after_a_journey_as_json() -> None:
    record, other = recorded(), recorded()
    other.generators = {"b": Generator(seconds=12, cpu_share=0.5, memory_bytes=1)}
    record.merge(Record.model_validate_json(other.model_dump_json()))
    result = judged(record)
    assert result.achieved_rate == pytest.approx(20)
    assert (result.generator.processes, result.generator.cpu_share) == (2, 0.5)


def test_different_reasons_for_failures_stay_few() -> None:
    record = Record()
    for number in range(1000):
        record.add_request(0, GOOD, 1, 1, f"reason {number}")
    assert len(record.reasons) == 101
    assert sum(record.reasons.values()) == 1000


METRICS = """# TYPE salver_ready gauge
salver_ready 1.0
# TYPE process_start_time_seconds gauge
process_start_time_seconds {process}
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total {cpu}
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1000
# TYPE salver_images_total counter
salver_images_total{{outcome="scored"}} {count}
# TYPE salver_stage_duration_seconds histogram
salver_stage_duration_seconds_bucket{{stage="decode",le="+Inf"}} {count}
salver_stage_duration_seconds_sum{{stage="decode"}} {sum}
salver_stage_duration_seconds_count{{stage="decode"}} {count}
"""


def sample(at: float, process: int = 1, cpu: float = 0, count: int = 0, total: float = 0) -> Sample:
    read = parse(METRICS.format(process=process, cpu=cpu, count=count, sum=total), at)
    assert read is not None
    return read


def test_the_services_metrics_say_where_the_time_went_after_the_warm_up() -> None:
    used = over([sample(0), sample(3, cpu=5, count=100, total=50), sample(5, cpu=8, count=300, total=52)], 2)
    assert used is not None
    assert used.stage_ms == {"decode": pytest.approx(10)}
    assert (used.cpu_cores, used.images_per_second) == (1.5, 100)


def test_metrics_of_several_replicas_are_not_subtracted_from_each_other() -> None:
    assert over([sample(3), sample(5, process=2)], 0) is None


@pytest.mark.parametrize("text", ["", "hello", "up 1\n", "{{{"])
def test_what_is_no_salver_service_has_no_metrics(text: str) -> None:
    assert parse(text, 0) is None


def test_the_report_is_one_page_with_everything_escaped() -> None:
    record = recorded(failures=1)
    record.add_request(3, GOOD, 1, 1, "<script>")
    samples = [sample(0), sample(3, cpu=5, count=100, total=50), sample(5, cpu=8, count=300, total=52)]
    page = report.page(result_of(record, options(), "http://127.0.0.1:1", samples))
    assert page.count("<svg") == 6
    assert "mean time in decode, ms" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mix": "base65=1"}, "--mix has 'base65=1': write NAME=WEIGHT, with a NAME of base64, list"),
        ({"mix": "base64=0"}, "--mix is empty"),
        ({"sizes": "vga=many"}, "--sizes has 'vga=many'"),
        ({"mix": "base64=1,base64=2"}, "give each name once"),
        ({"mix": "base64=99999"}, "weights of at most 1000"),
        ({"rate": -1.0}, "--rate is -1.0: give a number above 0"),
        ({"rate": 0.0}, "--rate is 0.0: give a number above 0"),
        ({"rate": 1e7}, "--rate is 10000000.0: give a number of at most 1,000,000"),
        ({"error_rate": 5.0}, "--error-rate is 5.0: give a number of at most 1: 5 % is 0.05"),
        ({"error_rate": -0.1}, "--error-rate is -0.1: give a number from 0 on"),
        ({"min_rate": 0.0}, "--min-rate is 0.0: give a number above 0"),
        ({"think_seconds": -1.0}, "--think-seconds is -1.0: give a number from 0 on"),
        ({"timeout": 0.0}, "--timeout is 0.0: give a number above 0"),
        ({"p99_ms": -5.0}, "--p99-ms is -5.0: give a number above 0"),
        ({"warm_up": -1.0}, "--warm-up is -1.0: give a number from 0 on"),
        ({"num_users": 0}, "--users is 0: give a number from 1 on"),
        ({"num_users": -3}, "--users is -3: give a number from 1 on"),
        ({"num_users": 10**9}, "--users is 1000000000: give a number of at most 100,000"),
        ({"run_time": 0}, "--run-time is 0: give a number above 0"),
        *(
            ({name: value}, f"--{name.replace('_', '-')} is {value}: give a finite number")
            for name in (
                "rate",
                "error_rate",
                "min_rate",
                "think_seconds",
                "timeout",
                "p99_ms",
                "warm_up",
                "spawn_rate",
            )
            for value in (float("nan"), float("inf"), -float("inf"))
        ),
        ({"warm_up": 30.0}, "A run of 12 s is over before --warm-up (30 s): make it longer"),
        ({"shape": "ramp", "run_time": None}, "--shape ramp needs a length: add --run-time"),
    ],
)
def test_a_wrong_option_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(LoadTestError) as refused:
        options(**changes)
    assert words in str(refused.value)


def test_a_worker_reads_users_and_length_from_its_masters_options() -> None:
    namespace = parsed()
    share(namespace)
    namespace.num_users, namespace.run_time = 1, None
    assert (read(namespace).users, read(namespace).seconds) == (4, 12)


@pytest.mark.parametrize(
    "changes",
    [
        {"error_rate": 0.0},
        {"error_rate": 1.0},
        {"rate": 0.05, "p99_ms": 0.1},
        {"warm_up": 0.0, "think_seconds": 0.0},
        {"num_users": 100_000, "spawn_rate": 0.5},
        {"num_users": None, "run_time": None},
        {"mix": "base64=1,broken=0", "min_rate": 0.1},
    ],
)
def test_the_ends_of_the_ranges_are_inside(changes: dict[str, object]) -> None:
    assert options(**changes).users in (1, 4, 100_000)


def of_answers(number: int, slow: int = 0, milliseconds: float = 20) -> Record:
    """A run with that many answers to requests for scores after its warm-up, besides refusals, and few of them slow."""
    record = Record(generators={"a": Generator(seconds=12, cpu_share=0.1, memory_bytes=1)})
    for place in range(number):
        record.add_request(3, GOOD, 5000 if place < slow else milliseconds, 1, None)
    for _ in range(200):
        record.add_request(3, BROKEN, 1, 0, None)
    return record


@pytest.mark.parametrize(
    ("record", "changes", "verdict"),
    [
        (of_answers(10), {"p99_ms": 100.0}, "invalid"),
        (of_answers(99), {"p99_ms": 100.0}, "invalid"),
        (of_answers(100), {"p99_ms": 100.0}, "passed"),
        (of_answers(10), {}, "passed"),
        (of_answers(99, slow=1), {"p99_ms": 100.0}, "invalid"),
        (of_answers(100, slow=1), {"p99_ms": 100.0}, "passed"),
        (of_answers(99, slow=2), {"p99_ms": 100.0}, "failed"),
        (of_answers(100, slow=2), {"p99_ms": 100.0}, "failed"),
        (of_answers(10), {"p99_ms": 100.0, "min_rate": 1000.0}, "failed"),
        (of_answers(0), {"p99_ms": 100.0}, "failed"),
    ],
)
def test_a_p99_of_fewer_than_a_hundred_answers_is_judged_only_where_more_could_not_change_it(
    record: Record, changes: dict[str, object], verdict: str
) -> None:
    result = judged(record, **changes)
    assert result.verdict == verdict
    if verdict == "invalid":
        (reason,) = result.reasons
        assert "a p99 needs at least 100 answers" in reason


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://[::1]:8000//", "http://[::1]:8000"),
        ("https://photos.example/salver/", "https://photos.example/salver"),
        ("HTTP://salver", "HTTP://salver"),
    ],
)
def test_a_slash_behind_the_host_is_taken_off(host: str, url: str) -> None:
    assert service_url(host) == url


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "127.0.0.1:8000",
            "localhost",
            "//localhost",
            "ftp://localhost",
            "http://",
            "http://:8000",
            "http:///score",
        ),
        *("http://localhost/?a=b", "http://localhost#x", "http://local host", "http://[::1", "http://localhost:many"),
        *("http://localhost:99999", "http://localhost\n"),
    ],
)
def test_what_is_no_url_of_a_service_is_said_in_one_line(host: str) -> None:
    with pytest.raises(LoadTestError, match=r"--host is .*: write http:// or https:// and the service's address"):
        service_url(host)
