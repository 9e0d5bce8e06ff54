"""The commands `salver loadtest capacity` and `salver loadtest local`."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from loadtest.capacity import Capacity, Search, Step, find, lines, plan
from loadtest.errors import LoadTestError
from loadtest.processes import local_service, run_locust
from loadtest.results import report
from loadtest.results.places import keep, try_place
from loadtest.results.result import P99_ANSWERS, Result
from loadtest.traffic import options as options_of
from loadtest.traffic.options import DEFAULT_SIZES, MOST_RATE, MOST_USERS
from salver.messages import errors_as_messages, show, tell
from salver.system.lock import Taken, locked_folder
from salver.text import printable, printable_json

NOT_HELD = 1
ENOUGH = 1.3
"""So that a step of a low rate has answers for a p99, where requests come by chance."""
MOST_P99_MS = 600_000
MOST_SECONDS = 86_400
CAPACITY, REPORT = "capacity.json", "report.html"
CAPACITY_MIX = "base64=1"
LOCAL_MIX = "base64=10,list=1,raw=4,url=2,broken=1"

loadtest = typer.Typer(no_args_is_help=True, help="Load a service: its capacity, and the replicas for a rate.")

Sizes = Annotated[str, typer.Option(help="Weights of the rendered photos: thumbnail, vga, phone.")]
Images = Annotated[Path | None, typer.Option(help="Send the image files of this folder instead.")]
Processes = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Generator processes, for more than a core can send.")
]
ErrorRate = Annotated[float, typer.Option(min=0, max=1, help="Largest share of failed requests, from 0 to 1.")]
Arrivals = Literal["poisson", "constant"]


@loadtest.command()
def capacity(
    *,
    url: Annotated[str, typer.Option(help="URL of one replica.")] = "http://127.0.0.1:8000",
    slo_p99_ms: Annotated[
        float,
        typer.Option(min=0.1, max=MOST_P99_MS, help="The objective: 99th percentile, in milliseconds."),
    ] = 100,
    error_rate: ErrorRate = 0.001,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, max=1e9, help="Wanted images/s: print replicas and targets."),
    ] = None,
    headroom: Annotated[float, typer.Option(min=0.01, max=1, help="Share of a replica's capacity to use.")] = 0.7,
    start: Annotated[float, typer.Option(min=0.1, max=MOST_RATE, help="First rate to try, in requests/s.")] = 8,
    seconds: Annotated[int, typer.Option(min=1, max=MOST_SECONDS, help="Measured seconds of each step, or more.")] = 20,
    warm_up: Annotated[int, typer.Option(min=0, max=MOST_SECONDS, help="Seconds before them.")] = 5,
    precision: Annotated[float, typer.Option(min=0.01, max=1, help="Relative width at which the search stops.")] = 0.05,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Searches, for a spread.")] = 3,
    arrivals: Annotated[Arrivals, typer.Option(help="How requests follow each other.")] = "poisson",
    mix: Annotated[str, typer.Option(help="Weights of the kinds of request.")] = CAPACITY_MIX,
    sizes: Sizes = DEFAULT_SIZES,
    images: Images = None,
    processes: Processes = None,
    key: Annotated[str | None, typer.Option(envvar="SALVER_KEY", help="Key of the service.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for capacity.json and the report of the best run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Find the highest open-loop rate that one replica holds, by steps and bisection.

    Ends with status 1 when the objective is not held at any rate.
    """
    _give_key(key)

    def options(tried: float) -> dict[str, object]:
        return {
            "host": url,
            "rate": tried,
            # Twice what an objective that is just held has in flight: whoever finds no user free is late anyway.
            "users": min(math.ceil(2 * tried * slo_p99_ms / 1000) + 10, MOST_USERS),
            "arrivals": arrivals,
            "run_time": max(seconds, math.ceil(ENOUGH * P99_ANSWERS / tried)) + warm_up,
            "warm_up": warm_up,
            "p99_ms": slo_p99_ms,
            "error_rate": error_rate,
            "mix": mix,
            "sizes": sizes,
            "images": images,
            "processes": processes,
        }

    def measure(tried: float) -> Result:
        result, _ = run_locust(options(tried), quiet=True)
        return result

    search = Search(measure, _tell)

    def so_far() -> str:
        return f"the highest rate that held so far: {max(search.best, default=None) or 'none'} requests/s"

    with errors_as_messages(NOT_HELD, command="loadtest", so_far=so_far):
        options_of.check(options(start))
        if out is not None:
            try_place(out / CAPACITY)
            try_place(out / REPORT)
        found = find(url, slo_p99_ms, search, start=start, precision=precision, repeats=repeats)
        if rate is not None:
            found = found.model_copy(update={"plan": plan(found, rate, headroom)})
        show(printable_json(found.model_dump_json(indent=2)) if as_json else "\n".join(lines(found)))
        _write(found, out)
    if found.images_per_second is None:
        raise typer.Exit(NOT_HELD)


@loadtest.command()
def local(
    model: Annotated[Path, typer.Argument(help="model.onnx to serve.")],
    *,
    rate: Annotated[float, typer.Option(min=0.1, max=MOST_RATE, help="Requests/s, in an open loop.")] = 10,
    seconds: Annotated[
        int, typer.Option(min=2, max=MOST_SECONDS, help="Length of the run, its warm-up of 5 s included.")
    ] = 30,
    p99_ms: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=MOST_P99_MS,
            help="Gate: largest 99th percentile, in milliseconds, of 100 answers.",
        ),
    ] = 1000,
    error_rate: ErrorRate = 0,
    mix: Annotated[str, typer.Option(help="Weights of the kinds of request.")] = LOCAL_MIX,
    sizes: Sizes = DEFAULT_SIZES,
    images: Images = None,
    processes: Processes = None,
    out: Annotated[Path, typer.Option(help="Folder for the report and the service's log.")] = Path("runs/loadtest"),
) -> None:
    """Serve a model file on this machine, load it, and pass or fail by gates: status 0, 1, or 3 for an invalid run."""
    options: dict[str, object] = {"rate": rate, "users": 64, "run_time": seconds, "warm_up": min(5, seconds // 2)}
    options |= {"p99_ms": p99_ms, "error_rate": error_rate, "mix": mix, "sizes": sizes, "images": images}
    options |= {"processes": processes, "out": out}
    with errors_as_messages(NOT_HELD, command="loadtest", so_far=lambda: f"what was measured until then lies in {out}"):
        options_of.check(options)
        with _alone(out), local_service(model, out) as url:
            _, code = run_locust({"host": url} | options)
    typer.echo(f"report: {out / REPORT}")
    raise typer.Exit(code)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Two runs at once would mix their files, and measure each other. Raises LoadTestError for the second."""
    try:
        with locked_folder(out):
            yield
    except Taken as error:
        raise LoadTestError(f"{out} is in use by {error.who}. {error.advice}") from None


def _give_key(key: str | None) -> None:
    """By the environment: a command line can be read by everybody on the machine."""
    if key is not None:
        os.environ["SALVER_KEY"] = key


def _tell(step: Step) -> None:
    p99 = "no answer" if step.p99_ms is None else f"p99 {step.p99_ms:.1f} ms"
    verdict = "holds" if step.holds else f"does not hold: {step.reasons[0]}"
    tell(printable(f"{step.rate:8.1f} requests/s  {p99:<16} {verdict}"))


def _write(found: Capacity, out: Path | None) -> None:
    if out is not None:
        keep(out / CAPACITY, found.model_dump_json(indent=2))
        if found.at_capacity is not None:
            keep(out / REPORT, report.page(found.at_capacity))
