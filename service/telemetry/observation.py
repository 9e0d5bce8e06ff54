"""What one request did, gathered while it is answered. Points in time are `time.perf_counter`'s."""

from __future__ import annotations

import operator
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from service.limits.memory import Share
from service.scoring.queue import Result
from service.telemetry.metrics import STAGES, Metrics, stage_seconds

if TYPE_CHECKING:
    from opentelemetry.trace import Span

SCOPE_KEY = "salver.observation"


@dataclass(slots=True)
class Observation:
    """The routes tell it of their images (`received`, `scored`), `service.telemetry.middleware` of all else."""

    metrics: Metrics
    share: Share
    """What the request holds of the memory until its answer has been sent."""
    method: str
    route: str
    trace_id: str
    span: Span | None = None
    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    images: int = 0
    results: Sequence[Result] = ()
    labels: Sequence[str] = ()
    scored_at: float = 0.0
    error_kind: str | None = None
    """Of the error that ended the whole request."""

    def received(self, images: int) -> None:
        """The request is well-formed and holds that many images."""
        self.images = images
        self.metrics.received(images)

    def scored(self, results: Sequence[Result], labels: Sequence[str]) -> None:
        """Every image that was received has its result, by a model with these labels."""
        self.results, self.labels = results, labels
        self.scored_at = time.perf_counter()

    def count(self, seconds: float) -> None:
        """Count the request, now that it is over, and give every image that was received its outcome."""
        self.metrics.answered(self.route, self.status, seconds, self.request_bytes, self.response_bytes)
        if self.results:
            self.metrics.scored(self.results, self.labels)
            self.metrics.stages(self.results, seconds)
        elif self.images:
            self.metrics.failed(self.images, self.error_kind or "abandoned")

    def server_timing(self) -> str:
        """The longest fetch, queueing, decoding and inference among the images, and the request so far, in ms."""
        longest = [*map(max, zip(*map(stage_seconds, self.results), strict=True)), time.perf_counter() - self.began]
        stages = zip(STAGES[-len(longest) :], longest, strict=True)
        return ", ".join([f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in stages if seconds])

    def stage_intervals(self) -> dict[str, tuple[float, float]]:
        """Stage by stage, from the first image's beginning to the last one's end, as if all images began together."""
        images = [stage_seconds(result) for result in self.results]
        begins = [self.scored_at - max(map(sum, images), default=0.0)] * len(images)
        intervals: dict[str, tuple[float, float]] = {}
        for stage, seconds in zip(STAGES, zip(*images, strict=True), strict=False):
            ends = list(map(operator.add, begins, seconds))
            if any(seconds):
                intervals[stage] = min(begins), max(ends)
            begins = ends
        return intervals


def observation_of(request: Request) -> Observation:
    """The observation of this request."""
    observation: Observation = request.scope[SCOPE_KEY]
    return observation
