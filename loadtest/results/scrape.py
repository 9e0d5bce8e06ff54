"""The service's own metrics while a run lasts: where the time went, and what it cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from salver.client.errors import ServiceUnreachable
from salver.client.web import Connections

STAGES = ("fetch", "queue", "decode", "inference", "total")
TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Sample:
    """The service's counts at a point in time, in seconds since the start of the run."""

    seconds: float
    process: float
    """When the process began: another number is another process."""
    cpu_seconds: float
    memory_bytes: float
    queue_images: float
    scored: float
    stage_seconds: dict[str, float]
    stage_count: dict[str, float]


class ServiceUse(BaseModel):
    """What happened between two samples, by the service's own metrics."""

    seconds: float
    cpu_cores: float
    memory_bytes: float
    queue_images: float
    images_per_second: float
    stage_ms: dict[str, float]
    """Mean time of an image in each stage, and of a request in `total`; none that nothing went through."""


def read(url: str, seconds: float) -> Sample | None:
    """The metrics at `url`; None when it does not answer with a Salver service's."""
    try:
        with Connections(url, TIMEOUT_SECONDS).http as http:
            answer = http.get(url, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, ServiceUnreachable):
        return None
    return parse(answer.text, seconds) if answer.status_code == 200 else None


def parse(text: str, seconds: float) -> Sample | None:
    """A sample out of Prometheus' text format; None when it is not a Salver service's."""
    values: dict[tuple[str, str], float] = {}
    try:
        for family in text_string_to_metric_families(text):
            for line in family.samples:
                label = line.labels.get("stage") or line.labels.get("outcome") or ""
                values[line.name, label] = line.value
    except ValueError:
        return None
    if ("salver_ready", "") not in values:
        return None
    return Sample(
        seconds=seconds,
        process=values.get(("process_start_time_seconds", ""), 0.0),
        cpu_seconds=values.get(("process_cpu_seconds_total", ""), 0.0),
        memory_bytes=values.get(("process_resident_memory_bytes", ""), 0.0),
        queue_images=values.get(("salver_queue_images", ""), 0.0),
        scored=values.get(("salver_images_total", "scored"), 0.0),
        stage_seconds={stage: values.get(("salver_stage_duration_seconds_sum", stage), 0.0) for stage in STAGES},
        stage_count={stage: values.get(("salver_stage_duration_seconds_count", stage), 0.0) for stage in STAGES},
    )


def is_one_process(samples: Iterable[Sample]) -> bool:
    """Whether all samples came from the same replica, so that their differences mean something."""
    return len({sample.process for sample in samples}) == 1


def used(before: Sample, after: Sample) -> ServiceUse:
    """The difference of two samples of the same process."""
    seconds = after.seconds - before.seconds
    counts = {stage: after.stage_count[stage] - before.stage_count[stage] for stage in STAGES}
    sums = {stage: after.stage_seconds[stage] - before.stage_seconds[stage] for stage in STAGES}
    return ServiceUse(
        seconds=after.seconds,
        cpu_cores=(after.cpu_seconds - before.cpu_seconds) / seconds,
        memory_bytes=after.memory_bytes,
        queue_images=after.queue_images,
        images_per_second=(after.scored - before.scored) / seconds,
        stage_ms={stage: sums[stage] / counts[stage] * 1000 for stage in STAGES if counts[stage]},
    )


def over(samples: Sequence[Sample], warm_up_seconds: float) -> ServiceUse | None:
    """All that happened after the warm-up; None without two samples of one process."""
    kept = [sample for sample in samples if sample.seconds >= warm_up_seconds]
    return used(kept[0], kept[-1]) if len(kept) > 1 and is_one_process(kept) else None


def each(samples: Sequence[Sample]) -> list[ServiceUse]:
    """What happened from sample to sample."""
    if not is_one_process(samples):
        return []
    return [used(before, after) for before, after in pairwise(samples)]
