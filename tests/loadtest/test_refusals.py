"""What is refused before any load is sent, and a result that finds no place after it: never a pass."""

import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from salver.cli import build
from tests.loadtest.generator import SMALL, command, environment
from tests.loadtest.stub import Stub, running
from tests.support.images import photo
from tests.support.models import probe

WRONG_OPTION = 2


class Case(NamedTuple):
    options: tuple[str, ...]
    words: str
    variables: Mapping[str, str] = {}


CASES = {
    "a share above 1": Case(("--error-rate", "5"), "--error-rate is 5.0: give a number of at most 1: 5 % is 0.05"),
    "a share that is none": Case((), "--error-rate is nan: give a finite number", {"LOADTEST_ERROR_RATE": "nan"}),
    "a warm-up that is none": Case(("--warm-up", "nan"), "--warm-up is nan: give a finite number"),
    "a result that is a folder": Case(("--result", "{folder}"), "{folder} cannot be written: It is a folder"),
    "a folder among the photos": Case(
        ("--images", "{photos}", "--out", "{photos}/out"), "lies in the folder of photos"
    ),
    "a result among the photos": Case(
        ("--images", "{photos}", "--result", "{photos}/r.json"), "lies in the folder of photos"
    ),
    "a folder that cannot be": Case(("--out", "/proc/none"), "/proc/none/result.json cannot be written: "),
    "a host without a scheme": Case(("--host", "127.0.0.1:1"), "--host is '127.0.0.1:1': write http:// or https://"),
    "an address of nobody": Case(("--mix", "url=1", "--file-host", "192.0.2.1"), "--file-host is '192.0.2.1', where"),
}


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with running(Stub()) as stub:
        yield stub


@pytest.fixture(scope="module")
def ended(
    stub: Stub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[subprocess.CompletedProcess[str]]]]:
    """All of them, two beside each other, since the most that they do is to import Locust."""
    folder, photos = tmp_path_factory.mktemp("result"), tmp_path_factory.mktemp("photos")
    (photos / "a.jpg").write_bytes(photo(32, 32, 0))

    def run(case: Case) -> subprocess.CompletedProcess[str]:
        options = [option.format(folder=folder, photos=photos) for option in case.options]
        line = command(stub.url, *SMALL, "--users", "1", "--run-time", "3", *options)
        variables = environment() | dict(case.variables)
        return subprocess.run(line, env=variables, text=True, stdin=DEVNULL, capture_output=True, timeout=60)

    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run, case) for name, case in CASES.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_meant_is_refused_in_one_line_before_anything_is_sent(
    name: str, ended: Mapping[str, Future[subprocess.CompletedProcess[str]]], stub: Stub
) -> None:
    run = ended[name].result()
    assert run.returncode == WRONG_OPTION, run.stderr
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("load test: ")]
    assert CASES[name].words.removeprefix("{folder}") in line
    assert "Traceback" not in run.stderr
    assert not stub.asked.is_set()


@pytest.mark.slow
def test_a_pass_whose_result_finds_no_place_any_more_is_a_failure_that_says_so(tmp_path: Path) -> None:
    place = tmp_path / "result.json"
    with running(Stub(seconds=0.01)) as stub:
        line = command(stub.url, *SMALL, "--users", "1", "--run-time", "3", "--result", str(place))
        with subprocess.Popen(line, env=environment(), text=True, stdin=DEVNULL, stdout=PIPE, stderr=PIPE) as run:
            assert stub.asked.wait(60)
            place.mkdir()
            words, _ = run.communicate(timeout=60)
    assert run.returncode == 1, words
    assert f"load test: FAILED\n  {place} cannot be written: It is a folder" in words


LOCAL = ("local", "{model}")
CAPACITY = ("capacity", "--url", "{url}")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        *(((*LOCAL, option, "nan"), 2, option) for option in ("--rate", "--p99-ms", "--error-rate")),
        *(((*LOCAL, option, "inf"), 2, option) for option in ("--rate", "--p99-ms", "--error-rate")),
        *(((*LOCAL, option, "0"), 2, option) for option in ("--rate", "--p99-ms", "--seconds", "--processes")),
        ((*LOCAL, "--error-rate", "5"), 2, "--error-rate"),
        ((*LOCAL, "--mix", "base65=1"), 1, "--mix has 'base65=1'"),
        ((*LOCAL, "--sizes", "vga=1,vga=1"), 1, "--sizes has 'vga=1': give each name once"),
        ((*LOCAL, "--images", "{folder}/none"), 1, "none is not a folder"),
        ((*LOCAL, "--seconds", "3"), 1, "needs at least 100 answers: make --seconds at least "),
        ((*LOCAL, "--rate", "1"), 1, "needs at least 100 answers: make --seconds at least "),
        (("local", "{folder}/none.onnx"), 1, "There is no model file {folder}/none.onnx."),
        ((*LOCAL, "--images", "{photos}", "--out", "{photos}/lt"), 1, "lies in the folder of photos {photos}"),
        ((*LOCAL, "--out", "{run}"), 1, "{run} holds a report.html that is not of a load test"),
        *(
            ((*CAPACITY, option, "nan"), 2, option)
            for option in ("--slo-p99-ms", "--error-rate", "--rate", "--headroom", "--start", "--precision")
        ),
        *(((*CAPACITY, option, "-1"), 2, option) for option in ("--seconds", "--warm-up", "--repeats", "--start")),
        ((*CAPACITY, "--precision", "inf"), 2, "--precision"),
        ((*CAPACITY, "--arrivals", "steady"), 2, "--arrivals"),
        ((*CAPACITY, "--out", "/proc/none"), 1, "/proc/none/capacity.json cannot be written"),
        ((*CAPACITY, "--mix", "base64=0"), 1, "--mix is empty"),
        ((*CAPACITY, "--images", "{photos}", "--out", "{photos}"), 1, "lies in the folder of photos {photos}"),
        ((*CAPACITY, "--out", "{run}"), 1, "{run} holds a report.html that is not of a load test"),
        (("capacity", "--url", "htp://me:s3cret@h"), 1, "--url is 'htp://…@h': write http:// or https://"),
        (("capacity", "--url", "localhost:8000"), 1, "--url is 'localhost:8000': write http:// or https://"),
    ],
)
def test_our_commands_refuse_what_cannot_be_meant_before_they_start_anything(
    options: tuple[str, ...], code: int, words: str, tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    photos, run = tmp_path / "photos", tmp_path / "run"
    for folder, file in ((photos, "a.jpg"), (run, "report.html")):
        folder.mkdir()
        (folder / file).write_bytes(photo(32, 32, 0))
    places = {
        "model": probe(tmp_path / "model.onnx"),
        "url": stub.url,
        "folder": tmp_path,
        "photos": photos,
        "run": run,
    }
    line = [option.format(**places) for option in options]
    if options[0] == "local" and "--out" not in options:
        line += ["--out", str(tmp_path / "out")]
    ended = CliRunner().invoke(build("loadtest"), ["loadtest", *line])
    assert ended.exit_code == code, ended.output
    assert words.format(**places) in ended.stderr
    assert sorted(path.name for folder in (photos, run) for path in folder.iterdir()) == ["a.jpg", "report.html"]
    assert not (tmp_path / "out" / "service.log").exists()
    assert not stub.asked.is_set()
