"""What the service says of itself: `GET /model`, `/healthz`, `/readyz`, `/metrics`."""

import prometheus_client
from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel

from salver.artifact.manifest import Familiarity, Parity, PixelSpec
from service.api.responses import problems
from service.scoring.machine import Passport
from service.service import service_of


class Output(BaseModel):
    """What the model can be asked for."""

    name: str
    shape: tuple[int, ...]
    """Of one image: of `features` it is their width."""


class ModelCard(BaseModel):
    """What is served."""

    name: str
    """The setting MODEL_NAME."""
    base: str
    """The network that was fine-tuned."""
    version: str
    """sha256 of the model file."""
    labels: tuple[str, ...]
    pixels: PixelSpec
    precision: str
    provider: str
    execution: str
    """How images are run: threads, batches."""
    temperature: float
    thresholds: dict[str, float] | None
    metrics: dict[str, float]
    parity: Parity
    """What the export gate measured between training and the file, for the logits and for every other output."""
    outputs: tuple[Output, ...]
    familiarity: Familiarity | None
    """By what a foreign image is told; null for a file that does not answer with it."""
    passport: Passport
    """On what the model runs here, and how far its answer to the test card is from training's."""


class Status(BaseModel):
    """Whether the service is alive or ready, and what it is doing."""

    status: str


class Readiness(Status):
    """That the service is ready, and what an operator should look at all the same."""

    stale: tuple[str, ...] | None = None
    """Settings whose file cannot be read, or holds what cannot be used: what it held before is still in force."""


def _needs_key(request: Request) -> None:
    service_of(request).keys.check(dict(request.scope["headers"]).get(b"authorization"))


router = APIRouter()


@router.get("/model", responses=problems("unauthorised", "not-ready"), dependencies=[Depends(_needs_key)])
async def model_card(request: Request) -> ModelCard:
    """What is served: labels, version, pixel preparation, provider."""
    service = service_of(request)
    live = service.live
    model, manifest = live.model, live.model.manifest
    return ModelCard(
        name=service.settings.model_name,
        base=manifest.base,
        version=model.version,
        labels=manifest.labels,
        pixels=manifest.pixels,
        precision=manifest.precision,
        provider=model.provider,
        execution=live.scorer.execution,
        temperature=manifest.temperature,
        thresholds=manifest.thresholds,
        metrics=manifest.provenance.metrics,
        parity=manifest.provenance.parity,
        outputs=tuple(Output(name=name, shape=shape) for name, shape in manifest.outputs.items()),
        familiarity=manifest.familiarity,
        passport=live.passport,
    )


@router.get("/healthz")
async def healthz() -> Status:
    """Alive; touches no model and needs no key."""
    return Status(status="alive")


@router.get("/readyz", responses=problems("not-ready"), response_model_exclude_none=True)
async def readyz(request: Request) -> Readiness:
    """Ready: the model has repeated the answer on its test card; 503 before that and while draining."""
    service = service_of(request)
    service.check_ready()
    return Readiness(status="ready", stale=tuple(file.setting for file in service.watched if file.fault) or None)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics_page(request: Request) -> Response:
    """Everything that is counted, in Prometheus' text format; needs no key."""
    text = prometheus_client.generate_latest(service_of(request).metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
