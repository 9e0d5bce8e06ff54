"""A result in words."""

from collections.abc import Iterator

from loadtest.results.result import Result
from loadtest.results.scrape import ServiceUse
from loadtest.traffic.options import Options
from salver.text import counted


def summary(result: Result, options: Options) -> str:
    """What a person at a terminal needs; the verdict comes last."""
    return "\n".join(["", *_lines(result), *_gates(options), f"load test: {result.verdict.upper()}", *_reasons(result)])


def _lines(result: Result) -> Iterator[str]:
    offered = "" if result.offered_rate is None else f"offered {result.offered_rate:.1f}, "
    yield f"{result.loop} loop, {measured_time(result)}"
    yield f"requests/s    {offered}achieved {result.achieved_rate:.1f}; images/s {result.images_per_second:.1f}"
    if result.latency_ms is not None:
        late = result.latency_ms
        yield f"latency, ms   p50 {late.p50:.1f}, p95 {late.p95:.1f}, p99 {late.p99:.1f}, largest {late.max:.1f}"
    yield f"failed        {result.failures} of {result.requests} ({result.error_rate:.2%})"
    for reason, number in sorted(result.failure_reasons.items(), key=lambda item: -item[1])[:5]:
        yield f"  {number} x {reason}"
    generator = result.generator
    delay = "" if generator.delay_p99_ms is None else f", begins requests {generator.delay_p99_ms:.1f} ms late (p99)"
    yield (
        f"generator     {counted(generator.processes, 'process', 'processes')}, busiest {generator.cpu_share:.0%} of "
        f"its core, {generator.memory_bytes / 2**20:.0f} MiB{delay}"
    )
    if result.service is not None:
        yield from service_lines(result.service, result.latency_ms.mean if result.latency_ms else None)


def measured_time(result: Result) -> str:
    """What the figures are of; a run can be ended before there are any."""
    if not result.measured_seconds:
        return f"ended within its {result.warm_up_seconds:.0f} s of warm-up"
    return f"{result.measured_seconds:.0f} s after {result.warm_up_seconds:.0f} s of warm-up"


def service_lines(service: ServiceUse, mean_ms: float | None) -> Iterator[str]:
    """What the service says: its cost, and where the time of the average request went."""
    yield f"service       {service.cpu_cores:.2f} cores, {service.memory_bytes / 2**20:.0f} MiB"
    parts = [f"{stage} {milliseconds:.1f}" for stage, milliseconds in where_the_time_went(service, mean_ms).items()]
    if parts:
        yield f"mean ms       {', '.join(parts)}"


def where_the_time_went(service: ServiceUse, mean_ms: float | None) -> dict[str, float]:
    """Mean milliseconds of an image in each stage, and of a request outside of the service."""
    stages = {stage: ms for stage, ms in service.stage_ms.items() if stage != "total"}
    total = service.stage_ms.get("total")
    if total is not None and mean_ms is not None:
        stages["network and generator"] = max(mean_ms - total, 0.0)
    return stages


def _gates(options: Options) -> Iterator[str]:
    gates = [f"failed <= {options.error_rate:.2%}"]
    if options.p99_ms is not None:
        gates.append(f"p99 <= {options.p99_ms:g} ms")
    if options.min_rate is not None:
        gates.append(f"images/s >= {options.min_rate:g}")
    yield f"gates         {', '.join(gates)}"


def _reasons(result: Result) -> Iterator[str]:
    return (f"  {reason}" for reason in result.reasons)
