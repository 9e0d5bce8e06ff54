"""`create_app(settings, keys)`: the routes, and nothing at import."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from artifact.manifest import PixelSpec
from service.errors import INTERNAL, ScoringError
from service.keys import Keys
from service.lifecycle import Lifecycle
from service.openapi import PROBLEM_JSON, describe, problems
from service.score import problem_response, score
from service.settings import Settings

log = logging.getLogger("salver.service")


class ModelCard(BaseModel):
    """What is served."""

    name: str
    version: str
    """sha256 of the model file."""
    labels: tuple[str, ...]
    pixels: PixelSpec
    precision: str
    provider: str
    temperature: float
    thresholds: dict[str, float] | None
    metrics: dict[str, float]


class Status(BaseModel):
    """Whether the service is alive or ready, and what it is doing."""

    status: str


def create_app(settings: Settings, keys: Keys, on_failure: Callable[[], None] = lambda: None) -> FastAPI:
    """The application; `on_failure` is called when the model cannot be loaded."""
    service = Lifecycle(settings, keys, on_failure)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    app = FastAPI(
        title="Salver",
        description="Scores images with one fine-tuned network.",
        version=version("salver"),
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(router)
    document = describe(app)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's documented way
    app.add_exception_handler(ScoringError, _scoring_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)
    return app


def _service(request: Request) -> Lifecycle:
    service: Lifecycle = request.app.state.service
    return service


def _needs_key(request: Request) -> None:
    _service(request).keys.check(dict(request.scope["headers"]).get(b"authorization"))


router = APIRouter()
router.add_route("/score", score, methods=["POST"])


@router.get("/model", responses=problems("unauthorised", "not-ready"), dependencies=[Depends(_needs_key)])
async def model_card(request: Request) -> ModelCard:
    """What is served: labels, version, pixel preparation, provider."""
    service = _service(request)
    model, manifest = service.model, service.model.manifest
    return ModelCard(
        name=manifest.base,
        version=model.version,
        labels=manifest.labels,
        pixels=manifest.pixels,
        precision=manifest.precision,
        provider=model.provider,
        temperature=manifest.temperature,
        thresholds=manifest.thresholds,
        metrics=manifest.provenance.metrics,
    )


@router.get("/healthz")
async def healthz() -> Status:
    """Alive; touches no model and needs no key."""
    return Status(status="alive")


@router.get("/readyz", responses=problems("not-ready"))
async def readyz(request: Request) -> Status:
    """Ready: the model has repeated the answer on its test card; 503 before that and while draining."""
    status = _service(request).status
    if status != "ready":
        raise ScoringError("not-ready", f"The service is {status}.")
    return Status(status=status)


async def _scoring_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ScoringError)
    return problem_response(error)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = {"type": "about:blank", "title": error.detail, "status": error.status_code}
    return JSONResponse(problem, error.status_code, error.headers, PROBLEM_JSON)


async def _internal_error(_: Request, __: Exception) -> Response:
    return problem_response(ScoringError("internal", INTERNAL))
