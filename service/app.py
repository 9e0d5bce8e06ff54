"""`create_app(settings, keys)`: the routes, and nothing at import."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from salver.artifact.manifest import Parity, PixelSpec
from service.api.front import SCORE_PATH, ErrorHandlers, Front
from service.api.openapi import PROBLEM_JSON, describe, problems
from service.api.reload import router as model_reload
from service.api.score import problem_response
from service.api.v2.routes import failure_response, in_protocol
from service.api.v2.routes import router as inference_protocol
from service.errors import INTERNAL, ScoringError, out_of_memory
from service.limits.keys import Keys
from service.pages.docs import router as docs
from service.pages.landing import router as page
from service.service import Lifecycle
from service.settings import Settings
from service.telemetry.metrics import router as metrics
from service.telemetry.middleware import Observer, Templates
from service.telemetry.observation import observed

log = logging.getLogger("salver.service")

DESCRIPTION = """Scores images with one fine-tuned network.

A path that is not listed here is answered 404, one with a slash at its end too, and a method that is not listed at its
path 405 with `Allow`: as a `Problem`, or under `/v2` as a `Failure`. `HEAD` is answered as `GET`, without the body."""
NOTHING_HERE = "Nothing answers this method at this path: GET /docs lists what there is."
SLASH_AT_THE_END = "Nothing answers at this path: leave out the slash at its end. GET /docs lists what there is."


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
    """What the export gate measured between training and the file."""


class Status(BaseModel):
    """Whether the service is alive or ready, and what it is doing."""

    status: str


class Readiness(Status):
    """That the service is ready, and what an operator should look at all the same."""

    stale: tuple[str, ...] | None = None
    """Settings whose file cannot be read, or holds what cannot be used: what it held before is still in force."""


def create_app(
    settings: Settings, keys: Keys, on_failure: Callable[[], None] = lambda: None, local_only: bool = False
) -> FastAPI:
    """The application; `on_failure` is called when the model cannot be loaded.

    With `local_only` it answers under this machine's loopback names only (`service.limits.hosts`).
    """
    service = Lifecycle(settings, keys, on_failure)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        observer.start()
        service.start()
        yield
        await service.close()
        await observer.close()

    app = FastAPI(
        title="Salver",
        description=DESCRIPTION,
        version=version("salver"),
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load Swagger UI and Redoc from a network
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy that ends TLS they would lead to http://
        telemetry={"tracing": False, "metrics": False, "logs": False},  # service.observe does it
    )
    app.state.service = service
    app.include_router(router)
    app.include_router(metrics)
    app.include_router(inference_protocol)
    app.include_router(model_reload)
    app.include_router(page)
    app.include_router(docs)
    document = describe(app)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's documented way
    for kind, handler in ERROR_HANDLERS.items():
        app.add_exception_handler(kind, handler)
    templates = Templates([SCORE_PATH, *(route.path for route in iter_route_contexts(app.routes) if route.path)])
    app.add_middleware(Front, handlers=ERROR_HANDLERS, local_only=local_only)
    # Around Starlette's own outermost middleware, which answers 500.
    app.middleware_stack = observer = Observer(app.build_middleware_stack(), service, templates)
    return app


def _service(request: Request) -> Lifecycle:
    service: Lifecycle = request.app.state.service
    return service


def _needs_key(request: Request) -> None:
    _service(request).keys.check(dict(request.scope["headers"]).get(b"authorization"))


router = APIRouter()


@router.get("/model", responses=problems("unauthorised", "not-ready"), dependencies=[Depends(_needs_key)])
async def model_card(request: Request) -> ModelCard:
    """What is served: labels, version, pixel preparation, provider."""
    service = _service(request)
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
    )


@router.get("/healthz")
async def healthz() -> Status:
    """Alive; touches no model and needs no key."""
    return Status(status="alive")


@router.get("/readyz", responses=problems("not-ready"), response_model_exclude_none=True)
async def readyz(request: Request) -> Readiness:
    """Ready: the model has repeated the answer on its test card; 503 before that and while draining."""
    service = _service(request)
    service.check_ready()
    return Readiness(status="ready", stale=tuple(file.setting for file in service.watched if file.fault) or None)


async def _scoring_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ScoringError)
    observed(request).error_kind = error.kind
    return failure_response(error) if in_protocol(request.scope["path"]) else problem_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    path = request.scope["path"]
    if error.detail == title:  # Starlette's own
        error.detail = SLASH_AT_THE_END if len(path) > 1 and path.endswith("/") else NOTHING_HERE
    if error.status_code == 405:
        allowed = set((error.headers or {}).get("Allow", "").split(", "))
        error.headers = {"Allow": ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))}
    if in_protocol(path):
        return failure_response(error)
    problem = {"type": "about:blank", "title": title, "detail": error.detail, "status": error.status_code}
    return JSONResponse(problem, error.status_code, error.headers, PROBLEM_JSON)


async def _client_gone(_: Request, __: Exception) -> Response:
    """Nobody reads it; 499 is nginx's status for this, and stands in the metrics."""
    return Response(status_code=499)


async def _no_memory(request: Request, _: Exception) -> Response:
    return await _scoring_error(request, out_of_memory())


async def _internal_error(request: Request, _: Exception) -> Response:
    return await _scoring_error(request, ScoringError("internal", INTERNAL))


ERROR_HANDLERS: ErrorHandlers = {
    ScoringError: _scoring_error,
    HTTPException: _http_error,
    ClientDisconnect: _client_gone,
    MemoryError: _no_memory,
    Exception: _internal_error,
}
