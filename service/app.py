"""`create_app(service)`: the routes and error handlers, and nothing at import."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from service.api.model import router as model
from service.api.openapi import describe
from service.api.reload import router as model_reload
from service.api.responses import PROBLEM_JSON
from service.api.score import problem_response, score
from service.api.v2.routes import failure_response, in_protocol
from service.api.v2.routes import router as inference_protocol
from service.errors import INTERNAL, ScoringError, out_of_memory
from service.limits.hosts import LoopbackOnly
from service.pages.routes import router as pages
from service.service import Service
from service.telemetry.middleware import Telemetry, Templates, observation_of

DESCRIPTION = """Scores images with one fine-tuned network.

A path that is not listed here is answered 404, one with a slash at its end too, and a method that is not listed at its
path 405 with `Allow`: as a `Problem`, or under `/v2` as a `Failure`. `HEAD` is answered as `GET`, without the body."""
NOTHING_HERE = "Nothing answers this method at this path: GET /docs lists what there is."
SLASH_AT_THE_END = "Nothing answers at this path: leave out the slash at its end. GET /docs lists what there is."


def create_app(service: Service, *, local_only: bool = False) -> FastAPI:
    """The application, which starts and closes the service.

    With `local_only` it answers under this machine's loopback names only (`service.limits.hosts`).
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        telemetry.start()
        service.start()
        yield
        await service.close()
        await telemetry.close()

    app = FastAPI(
        title="Salver",
        description=DESCRIPTION,
        version=version("salver"),
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load Swagger UI and Redoc from a network
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy that ends TLS they would lead to http://
        telemetry={"tracing": False, "metrics": False, "logs": False},  # service.telemetry does it
    )
    app.state.service = service
    # At the head, where an image passes nothing else; FastAPI's own routes cost as much as all of ours.
    app.router.routes[:0] = [*([LoopbackOnly()] if local_only else []), Route("/score", score, methods=["POST"])]
    app.include_router(model)
    app.include_router(inference_protocol)
    app.include_router(model_reload)
    app.include_router(pages)
    document = describe(app)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's documented way
    for kind, handler in ERROR_HANDLERS.items():
        app.add_exception_handler(kind, handler)
    templates = Templates([route.path for route in iter_route_contexts(app.routes) if route.path])
    # Around Starlette's own outermost middleware, which answers 500.
    app.middleware_stack = telemetry = Telemetry(app.build_middleware_stack(), service, templates)
    return app


async def _scoring_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ScoringError)
    observation_of(request).error_kind = error.kind
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


ERROR_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    ScoringError: _scoring_error,
    HTTPException: _http_error,
    ClientDisconnect: _client_gone,
    MemoryError: _no_memory,
    Exception: _internal_error,
}
