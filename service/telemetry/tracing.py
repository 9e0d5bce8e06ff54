"""OpenTelemetry spans, sent when the extra `tracing` is installed and the standard OTEL_* variables name a collector.

Nothing of OpenTelemetry's SDK is imported otherwise.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = logging.getLogger("salver.service")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
PROTOCOL = "http/protobuf"
# As the exporter reads it: a token, '=', and what may stand in a header. It says aloud what it cannot read.
HEADER = re.compile(r"[!#-'*+\-.0-9A-Z^-z|~]+[ \t]*=[ !#-+\--:<-\[\]-~]*")
PROPAGATED = (b"traceparent", b"tracestate")
STATUS = "http.response.status_code"
FLUSH_SECONDS = 3.0
# https://www.w3.org/TR/trace-context/#traceparent-header; a later version may add fields behind these.
TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def caller_trace_id(traceparent: bytes) -> str | None:
    """The trace id in the caller's header; None when the header is not well-formed. Needs nothing of OpenTelemetry."""
    match = TRACEPARENT.fullmatch(traceparent)
    if match is None or (match[1] == b"00" and match[3] is not None):
        return None
    return match[2].decode()


def start_tracing() -> Tracing | None:
    """What the standard OTEL_* variables ask for; None when they ask for nothing, or for what is not there."""
    environment = os.environ
    off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if off or not any(environment.get(name) for name in ENDPOINTS):
        return None
    if fault := _fault(environment):
        log.warning("no traces are sent: %s", fault)
        return None
    try:
        return Tracing(_provider())
    except ImportError:
        log.warning("no traces are sent, though OTEL_* names a collector: run  pip install -e '.[tracing]'  in a clone")
        return None


def _fault(environment: Mapping[str, str]) -> str:
    """What is wrong with the variables, without a value in which a secret may stand; empty when nothing is."""

    def used(names: tuple[str, ...]) -> tuple[str, str]:
        return next(((name, environment[name]) for name in names if environment.get(name)), (names[-1], ""))

    name, protocol = used(PROTOCOLS)
    if protocol not in ("", PROTOCOL):
        return f"{name} is {protocol[:40]}, and only {PROTOCOL} is here"
    name, endpoint = used(ENDPOINTS)
    if not endpoint.lower().startswith(("http://", "https://")):
        return f"{name} does not begin with http:// or https://"
    name, headers = used(HEADERS)
    parts = [part.strip() for part in headers.split(",")]
    if not all(HEADER.fullmatch(part) and _can_be_sent(part.partition("=")[2]) for part in parts if part):
        return (
            f"{name} is not name=value, or several with commas between them (its value is not shown: it may be a key)"
        )
    return ""


def _can_be_sent(value: str) -> bool:
    """Whether it is a header's value once its %XX are resolved."""
    return all(character.isprintable() and ord(character) < 256 for character in unquote(value))


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The variables' own attributes go over ours.
    resource = Resource.create({"service.name": "salver"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """A server span for each request, with a child span for each stage of scoring."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._api = trace
        self._provider = provider
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("salver")

    def begin(self, method: str, headers: Sequence[tuple[bytes, bytes]]) -> Span:
        """A new server span, under the caller's when the headers `traceparent` and `tracestate` name one."""
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in PROPAGATED}
        return self._tracer.start_span(method, self._propagator.extract(carrier), kind=self._api.SpanKind.SERVER)

    def end(
        self,
        span: Span,
        name: str,
        attributes: Mapping[str, str | int],
        stages: Mapping[str, tuple[float, float]],
    ) -> None:
        """End a request's span; `stages` are its children's beginnings and ends on `time.perf_counter`'s clock."""
        if span.is_recording():
            span.update_name(name)
            span.set_attributes(attributes)
            if int(attributes[STATUS]) >= 500:
                span.set_status(self._api.StatusCode.ERROR)
            context = self._api.set_span_in_context(span)
            zero = time.time_ns() - int(time.perf_counter() * 1e9)
            for stage, (began, ended) in stages.items():
                child = self._tracer.start_span(stage, context, start_time=zero + int(began * 1e9))
                child.end(zero + int(ended * 1e9))
        span.end()

    def close(self) -> None:
        """Send what is left, for at most FLUSH_SECONDS: a collector that hangs does not hold up the end."""
        flush = threading.Thread(target=self._provider.shutdown, daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)
