"""The page of a run: one HTML file that needs nothing else."""

import html
import io
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.results.result import Result
from loadtest.results.text import where_the_time_went

Line = tuple[str, Sequence[float], Sequence[float | None]]
"""Name, seconds, values."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
h1 span { padding: .1em .5em; border-radius: .3em; color: white }
.passed { background: #2a7d3f } .failed { background: #b3261e } .invalid { background: #8a5a00 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em 1em .2em 0; text-align: right }
td:first-child, th:first-child { text-align: left } tr { border-bottom: 1px solid #ddd }
svg { width: 100%; height: auto }
"""


def page(result: Result) -> str:
    """The result as HTML."""
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in result.reasons)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Load test: {result.verdict}</title>
<style>{STYLE}</style>
<h1>Load test <span class="{result.verdict}">{result.verdict}</span></h1><ul>{reasons}</ul>
<p>{html.escape(result.host)}, {result.loop} loop, shape {result.shape}, up to {result.users} at once, images
{html.escape(result.images)}, mix {html.escape(_words(result.mix))}. Figures are of {result.measured_seconds:.0f} s
after {result.warm_up_seconds:.0f} s of warm-up; the curves show all of it.</p>
{_table(("", ""), _figures(result))}
{_chart(result)}
<h2>Requests</h2>{_table(("kind", "requests", "failed", "images scored", "p50 ms", "p99 ms"), _kinds(result))}
<h2>Failures, warm-up included</h2>{_table(("kind and reason", "requests"), _failures(result))}
<p>Locust's own pages: <a href="locust.html">locust.html</a>, <a href="locust_stats.csv">locust_stats.csv</a>,
<a href="locust_stats_history.csv">locust_stats_history.csv</a>.</p></html>
"""


def _figures(result: Result) -> Iterable[Sequence[str]]:
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


def _kinds(result: Result) -> Iterable[Sequence[str]]:
    for kind in result.kinds:
        times = ("" if ms is None else f"{ms:.1f}" for ms in (kind.p50_ms, kind.p99_ms))
        yield kind.name, str(kind.requests), str(kind.failures), str(kind.images), *times


def _failures(result: Result) -> Iterable[Sequence[str]]:
    return [(reason, str(number)) for reason, number in result.failure_reasons.items()] or [("none", "")]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row(head, 'th') if any(head) else ''}{''.join(row(cells, 'td') for cells in rows)}</table>"


def _words(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _chart(result: Result) -> str:
    """All curves over the same seconds, as SVG."""
    names = ["requests/s", "latency, ms", "errors/s"]
    if result.service_points:
        names += ["stages of the service, mean ms", "service, cores", "service, MiB"]
    figure = Figure(figsize=(11, 2.3 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 1, sharex=True)
    for name, plot in zip(names, axes, strict=True):
        _draw(plot, name, list(_curves(result, name)), result.warm_up_seconds)
    axes[-1].set_xlabel("seconds")
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue()[file.getvalue().index("<svg") :]


def _draw(plot: Axes, name: str, curves: Sequence[Line], warm_up_seconds: float) -> None:
    for label, seconds, values in curves:
        # None, where nothing was answered, leaves a gap.
        plot.plot(seconds, [float("nan") if value is None else value for value in values], label=label, linewidth=1.4)
    plot.axvspan(0, warm_up_seconds, color="0.92")
    plot.set_title(name, loc="left", fontsize=10)
    plot.set_ylim(bottom=0)
    plot.grid(alpha=0.3)
    if curves:
        plot.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)


def _curves(result: Result, name: str) -> Iterable[Line]:
    points, service = result.points, result.service_points
    at, served = [point.seconds for point in points], [use.seconds for use in service]
    if name == "requests/s":
        yield "achieved", at, [point.rate for point in points]
        if result.offered_rate is not None:
            yield "offered", at, [point.offered for point in points]
        yield "images/s", at, [point.images_per_second for point in points]
    elif name == "latency, ms":
        yield "p99", at, [point.p99_ms for point in points]
        yield "p95", at, [point.p95_ms for point in points]
        yield "p50", at, [point.p50_ms for point in points]
    elif name == "errors/s":
        yield "failed", at, [point.failures_per_second for point in points]
    elif name == "service, cores":
        yield "CPU", served, [use.cpu_cores for use in service]
    elif name == "service, MiB":
        yield "memory", served, [use.memory_bytes / 2**20 for use in service]
    else:
        for stage in sorted({stage for use in service for stage in use.stage_ms}):
            yield stage, served, [use.stage_ms.get(stage) for use in service]
