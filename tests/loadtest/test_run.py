"""Whole runs of Locust against stubs whose behaviour is known; they run beside each other, since they mostly wait."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from loadtest.processes import LOCUSTFILE
from loadtest.traffic.payload import TITLES, Kind
from tests.loadtest.generator import Ran, load
from tests.loadtest.stub import Stub

pytestmark = pytest.mark.slow
RAISING = Path(__file__).parent / "raising.py"
AT_ONCE = 4
ERRORS = "--users 4 --run-time 4 --error-rate 0.01"


class Case(NamedTuple):
    """A stub, and how it is loaded."""

    stub: Stub
    options: str
    locustfile: Path = LOCUSTFILE


CASES = {
    "stall": Case(Stub(seconds=0.01, stall=(2.0, 10.0)), "--rate 20 --users 100 --run-time 11 --arrivals constant"),
    "too slow": Case(Stub(seconds=1.0), "--rate 50 --users 10 --run-time 6 --p99-ms 60000"),
    "known": Case(Stub(seconds=0.2), "--users 5 --run-time 6"),
    "errors in a 200": Case(Stub(item_errors=True), "--users 2 --think-seconds 0.05 --run-time 3 --mix list=1"),
    "expected refusal": Case(
        Stub(refuse=(413, "urn:salver:image-too-large")), "--users 2 --think-seconds 0.05 --run-time 3 --mix broken=1"
    ),
    "few errors": Case(Stub(seconds=0.01, failed_share=0.005), ERRORS),
    "many errors": Case(Stub(seconds=0.01, failed_share=0.05), ERRORS),
    "a task raises": Case(Stub(seconds=0.01), f"{ERRORS} --users 8", RAISING),
    "no request": Case(Stub(), "--rate 0.0001 --users 2 --run-time 3"),
    "few answers": Case(Stub(seconds=0.01), "--rate 5 --users 4 --run-time 3 --p99-ms 5000"),
    "mix": Case(
        Stub(seconds=0.01),
        "--users 4 --run-time 4 --mix base64=2,list=1,raw=2,url=1 --out {folder} --p99-ms 2000 --min-rate 1",
    ),
    "processes": Case(Stub(seconds=0.05), "--processes 2 --rate 40 --users 20 --run-time 8 --arrivals constant"),
}


Runs = dict[str, Future[Ran]]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Those that the chosen tests of this module ask for."""

    def run(name: str, folder: Path) -> Ran:
        case = CASES[name]
        return load(case.stub, folder, case.options.format(folder=folder).split(), case.locustfile)

    specs = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = {spec.params.get("ran") for spec in specs if spec is not None}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(run, name, tmp_path_factory.mktemp("run")) for name in CASES if name in wanted}


@pytest.fixture
def ran(request: pytest.FixtureRequest, runs: Runs) -> Ran:
    """The run of the case that the test names."""
    return runs[request.param].result()


def of(*cases: str) -> pytest.MarkDecorator:
    """A test of these cases."""
    return pytest.mark.parametrize("ran", cases, indirect=True)


@of("known")
def test_a_known_service_time_is_measured_right(ran: Ran) -> None:
    assert ran.code == 0
    assert ran.result.latency_ms is not None
    assert ran.result.latency_ms.p50 == pytest.approx(202, rel=0.1)
    assert ran.result.achieved_rate == pytest.approx(5 / 0.202, rel=0.15)
    assert ran.result.images_per_second == pytest.approx(ran.result.achieved_rate)


@of("too slow")
def test_a_rate_that_was_not_reached_is_invalid_and_says_so(ran: Ran) -> None:
    assert ran.result.offered_rate == pytest.approx(50, rel=0.25)
    assert ran.result.achieved_rate <= 10.5
    assert (ran.code, ran.result.verdict) == (3, "invalid")
    assert "target not reached" in ran.text
    assert "load test: PASSED" not in ran.text


@of("stall")
def test_a_stall_shows_in_the_p99_of_the_open_loop(ran: Ran) -> None:
    latency = ran.result.latency_ms
    assert latency is not None
    assert 1500 < latency.p99 < 2600
    assert latency.p50 < 100


@of("errors in a 200")
def test_errors_inside_a_200_are_failures(ran: Ran) -> None:
    assert set(ran.stub.seen) == {200}
    assert ran.result.failures == ran.result.requests > 0
    assert ran.code == 1
    assert "item error urn:salver:inference-failed in a 200" in ran.text


@of("expected refusal")
def test_an_expected_413_is_a_success_under_its_own_name(ran: Ran) -> None:
    assert set(ran.stub.seen) == {413}
    (kind,) = ran.result.kinds
    assert kind.name == TITLES[Kind.BROKEN]
    # The other broken image expects a 422, which this stub never gives.
    assert 0 < kind.failures < kind.requests
    assert list(ran.result.failure_reasons) == [
        f"{TITLES[Kind.BROKEN]}: expected 422 urn:salver:undecodable-image, got 413 urn:salver:image-too-large"
    ]


@pytest.mark.parametrize(
    ("ran", "code", "reason"),
    [
        ("few errors", 0, "load test: PASSED"),
        ("many errors", 1, "of the requests failed, over 1.00%"),
        ("a task raises", 1, "a task raised an exception: nothing under this key"),
        ("no request", 1, "no request was answered after the warm-up"),
        ("few answers", 3, "a p99 needs at least 100 answers"),
    ],
    indirect=["ran"],
)
def test_the_exit_code_says_pass_or_fail_and_the_reason_is_printed(ran: Ran, code: int, reason: str) -> None:
    assert ran.code == code, ran.text
    assert reason in ran.text


@of("mix")
def test_a_mix_is_scored_under_few_names_with_a_report_beside_locusts_own(ran: Ran) -> None:
    assert ran.code == 0, ran.text
    assert {kind.name for kind in ran.result.kinds} == {
        TITLES[kind] for kind in (Kind.BASE64, Kind.LIST, Kind.RAW, Kind.URL)
    }
    assert ran.result.images_per_second > ran.result.achieved_rate


@of("mix")
def test_the_folder_of_a_run_holds_the_report_and_locusts_own(
    ran: Ran, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert ran.code == 0
    (report,) = tmp_path_factory.getbasetemp().glob("run*/report.html")
    assert "<svg" in report.read_text()
    assert {path.name for path in report.parent.iterdir()} >= {"result.json", "locust.html", "locust_stats.csv"}


@of("processes")
def test_several_processes_share_the_rate(ran: Ran) -> None:
    result = ran.result
    assert result.generator.processes == 2
    assert result.offered_rate == pytest.approx(40, rel=0.1)
    assert result.achieved_rate == pytest.approx(40, rel=0.1)
    assert result.verdict == "passed"


def test_importing_the_commands_does_not_import_locust() -> None:
    code = "import sys, loadtest.cli; sys.exit(int('gevent' in sys.modules or 'locust' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
