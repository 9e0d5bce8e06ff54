"""What Prometheus reads at `GET /metrics`; docs/operations.md has the table of what each line means."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from service.errors import ScoringError
from service.scoring.model import Model
from service.scoring.scorer import Result
from service.scoring.served import Change, ServedModel
from service.settings import Freshness, Settings
from service.telemetry.logs import dropped_lines

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
MAX_LABELS = 100
OTHER_LABELS = "other"
MODEL_LABELS = ("name", "version", "provider", "precision")
ENGINE_LABELS = ("engine", "version", "provider", "cpu", "cpu_features")
STAGES = ("fetch", "queue", "decode", "inference", "total")


class State(Protocol):
    """What is asked of the service when its metrics are read."""

    @property
    def status(self) -> str: ...

    @property
    def live(self) -> ServedModel: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def watched(self) -> Sequence[Freshness]: ...


class Metrics:
    """The counts of one application, in a registry of its own. Labelled children are looked up once."""

    def __init__(self, service: State) -> None:
        # A time stamp for each line would double their number.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.requests_in_flight = 0
        self.registry = CollectorRegistry()
        self.registry.register(_StateCollector(service, self))
        ProcessCollector(registry=self.registry)
        counter, histogram = self._counter, self._histogram
        requests = histogram("request_duration_seconds", "Requests, by route and status.", SECONDS, "route", "status")
        self._request = cache(requests.labels)
        self._request_bytes = counter("request_bytes", "Bytes of request bodies.")
        self._response_bytes = counter("response_bytes", "Bytes of answers' bodies.")
        self.images_received = counter("images_received", "Images in well-formed requests.")
        """Each is to be given an outcome later."""
        self._outcome = cache(counter("images", "Images by what became of them.", "outcome").labels)
        stages = histogram("stage_duration_seconds", "Where the time of scoring goes.", SECONDS, "stage")
        *self._observe_stages, self._observe_total = (stages.labels(stage).observe for stage in STAGES)
        self._batch = histogram("batch_images", "Images in one run of the model.", BATCH_IMAGES)
        self._prediction = counter("predictions", "Scored images by best label.", "label")
        self._predictions: dict[str, Counter] = {}
        self._labels: Sequence[str] = ()
        self._reload = counter("model_reloads", "Tries to change the model.", "outcome")
        for outcome in ("ok", "failed"):
            self._reload.labels(outcome)

    def answered(self, route: str, status: int, seconds: float, *, request_bytes: int, response_bytes: int) -> None:
        """A request is over; `route` is a template, never a path as it came."""
        self._request(route, str(status)).observe(seconds)
        self._request_bytes.inc(request_bytes)
        self._response_bytes.inc(response_bytes)

    def failed(self, images: int, outcome: str) -> None:
        """That many images ended with an error kind, or `abandoned`, together with their request."""
        self._outcome(outcome).inc(images)

    def scored(self, results: Sequence[Result], labels: Sequence[str]) -> None:
        """Each image of a request ended with its own outcome; `labels` are those of the model that scored."""
        if labels is not self._labels:
            self._learn(labels)
        for result in results:
            outcome = result.outcome
            if isinstance(outcome, ScoringError):
                self._outcome(outcome.kind).inc()
            else:
                self._outcome("scored").inc()
                label = labels[int(outcome.logits.argmax())]
                self._predictions.get(label, self._predictions[OTHER_LABELS]).inc()

    def stages(self, results: Sequence[Result], total_seconds: float) -> None:
        """Where a scoring request's time went: in each stage image by image, and in total."""
        for result in results:
            for observe, seconds in zip(self._observe_stages, stage_seconds(result), strict=True):
                if seconds:  # a stage that an image did not come to took no time at all
                    observe(seconds)
        self._observe_total(total_seconds)

    def batch_run(self, images: int) -> None:
        """The model was run on that many images at once; any thread may say so."""
        self._batch.observe(images)

    def reloaded(self, outcome: Change) -> None:
        """A change of the model was tried."""
        self._reload.labels(outcome).inc()

    def _learn(self, labels: Sequence[str]) -> None:
        """Count the first labels of a model one by one, as long as there is room, and the others together."""
        for label in list(dict.fromkeys((*self._predictions, *labels)))[:MAX_LABELS]:
            self._predictions[label] = self._prediction.labels(label)
        self._predictions.setdefault(OTHER_LABELS, self._prediction.labels(OTHER_LABELS))
        self._labels = labels

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"salver_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"salver_{name}", text, labels, buckets=buckets, registry=self.registry)


def stage_seconds(result: Result) -> tuple[float, ...]:
    """One image's seconds in each of STAGES but the total."""
    return result.fetch_seconds, result.queue_seconds, result.decode_seconds, result.inference_seconds


class _StateCollector(Collector):
    """What is read at the moment of asking rather than counted, so that it follows a change of the model."""

    def __init__(self, service: State, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics

    @override
    def collect(self) -> Iterator[Metric]:
        service = self._service
        yield _gauge("ready", "1 when /readyz answers 200.", service.status == "ready")
        yield _gauge("requests_in_flight", "Requests being answered.", self._metrics.requests_in_flight)
        yield CounterMetricFamily(
            "salver_log_lines_dropped", "Log lines that standard error did not take.", value=dropped_lines()
        )
        yield from _files(service.watched)
        try:
            live = service.live
        except ScoringError:
            return
        model, passport = live.model, live.passport
        yield _gauge("queue_images", "Images that wait or are being scored.", live.scorer.queue.images)
        info = GaugeMetricFamily("salver_model_info", "The model that is served.", labels=MODEL_LABELS)
        info.add_metric((service.settings.model_name, model.version, model.provider, model.manifest.precision), 1)
        yield info
        engine = GaugeMetricFamily("salver_engine_info", "What the model runs on.", labels=ENGINE_LABELS)
        names = passport.engine, passport.engine_version, passport.provider, passport.cpu
        engine.add_metric((*names, " ".join(passport.cpu_features)), 1)
        yield engine
        yield _facts(model)
        yield _gauge(
            "card_difference", "Of the test card's logits from those of training, at most.", passport.card_difference
        )


def _facts(model: Model) -> Metric:
    """What `salver drift` compares with the file's reference: of the model that is served, from its start on."""
    facts = CounterMetricFamily(
        "salver_fact_images", "Different images, by the bin of each fact.", labels=["fact", "bin", "version"]
    )
    for fact, bins in model.facts.counts().items():
        for name, count in bins.items():
            facts.add_metric([fact, name, model.version], count)
    return facts


def _files(watched: Sequence[Freshness]) -> Iterator[Metric]:
    """Of key files, and of the model's while it is looked at; nothing where there is none."""
    stale = GaugeMetricFamily(
        "salver_file_stale", "1 when what is in force is not what the file holds.", labels=["setting"]
    )
    confirmed = GaugeMetricFamily(
        "salver_file_confirmed_age_seconds",
        "Since a look last found in the file what is in force.",
        labels=["setting"],
    )
    taken = GaugeMetricFamily(
        "salver_file_taken_age_seconds", "Since what is in force was taken from the file.", labels=["setting"]
    )
    for file in watched:
        stale.add_metric([file.setting], float(bool(file.fault)))
        confirmed.add_metric([file.setting], file.confirmed_seconds)
        taken.add_metric([file.setting], file.taken_seconds)
    yield from (stale, confirmed, taken)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"salver_{name}", text, value=value)
