"""The page of a run: one HTML file that needs nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jinja2

from loadtest.results import chart
from loadtest.results.chart import Chart, Curve
from loadtest.results.result import Result
from loadtest.results.text import where_the_time_went

FOLDER = Path(__file__).parent


def page(result: Result) -> str:
    """The result as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        result=result,
        mix=_words(result.mix),
        figures=list(_figures(result)),
        kinds=list(_kinds(result)),
        failures=list(result.failure_reasons.items()) or [("none", "")],
        charts=list(_charts(result)),
        frame=chart,
    )


def _figures(result: Result) -> Iterator[tuple[str, str]]:
    if result.offered_rate is not None:
        yield "requests/s offered", f"{result.offered_rate:.1f}"
    yield "requests/s achieved", f"{result.achieved_rate:.1f}"
    yield "images/s scored", f"{result.images_per_second:.1f}"
    if result.latency_ms is not None:
        for name, value in result.latency_ms:
            yield f"latency {name}, ms", f"{value:.1f}"
    yield "failed", f"{result.failures} of {result.requests} ({result.error_rate:.2%})"
    yield "generator, busiest process", f"{result.generator.cpu_share:.0%} of a core"
    if result.service is not None:
        yield "service, cores", f"{result.service.cpu_cores:.2f}"
        yield "service, MiB", f"{result.service.memory_bytes / 2**20:.0f}"
        mean_ms = result.latency_ms.mean if result.latency_ms else None
        for stage, value in where_the_time_went(result.service, mean_ms).items():
            yield f"mean time in {stage}, ms", f"{value:.1f}"


def _kinds(result: Result) -> Iterator[Sequence[str]]:
    for kind in result.kinds:
        times = ("" if ms is None else f"{ms:.1f}" for ms in (kind.p50_ms, kind.p99_ms))
        yield kind.name, str(kind.requests), str(kind.failures), str(kind.images), *times


def _words(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _charts(result: Result) -> Iterator[Chart]:
    """All over the same seconds."""
    seconds = max([0.0, *(point.seconds for point in result.points), *(use.seconds for use in result.service_points)])
    for title, curves in _curves(result).items():
        yield Chart(title, curves, seconds=seconds, warm_up_seconds=result.warm_up_seconds)


def _curves(result: Result) -> dict[str, list[Curve]]:
    """By the title of their chart."""
    points, service = result.points, result.service_points
    at, served = [point.seconds for point in points], [use.seconds for use in service]
    rates = [Curve("achieved", at, [point.rate for point in points])]
    if result.offered_rate is not None:
        rates.append(Curve("offered", at, [point.offered for point in points]))
    charts = {
        "requests/s": [*rates, Curve("images/s", at, [point.images_per_second for point in points])],
        "latency, ms": [
            Curve("p99", at, [point.p99_ms for point in points]),
            Curve("p95", at, [point.p95_ms for point in points]),
            Curve("p50", at, [point.p50_ms for point in points]),
        ],
        "errors/s": [Curve("failed", at, [point.failures_per_second for point in points])],
    }
    if service:
        stages = sorted({stage for use in service for stage in use.stage_ms})
        charts |= {
            "stages of the service, mean ms": [
                Curve(stage, served, [use.stage_ms.get(stage) for use in service]) for stage in stages
            ],
            "service, cores": [Curve("CPU", served, [use.cpu_cores for use in service])],
            "service, MiB": [Curve("memory", served, [use.memory_bytes / 2**20 for use in service])],
        }
    return charts
