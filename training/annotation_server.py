"""The annotation page's server: on 127.0.0.1 only, for the one browser that came with the token.

Another site's page can make a browser send requests here. So a request needs the cookie that the token was exchanged
for (SameSite=Strict), the right Host (against DNS rebinding) and, when it changes something, the right Origin.
"""

import secrets
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import uvicorn
from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel
from starlette.middleware.base import RequestResponseEndpoint
from starlette.staticfiles import StaticFiles

from artifact.errors import ImageError
from training.annotation_store import AnnotationStore, Change, ChangedElsewhere
from training.annotations import Annotation
from training.duplicates import identical, joined, near_pairs
from training.errors import DatasetError
from training.folder import natural_order, nfc
from training.inspection import inspect_files
from training.inspection_cache import InspectionCache, Stamp
from training.thumbnails import PICTURE_SIDE, picture, thumbnail

PAGE = Path(__file__).with_name("annotation_page")
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class ImageRow(BaseModel):
    """`folder` is the label of the folder, `label` what an annotation says; `stamp` changes with the file."""

    name: str
    folder: str
    label: str
    flag: Literal["", "bad"]
    note: str
    stamp: str


class Page(BaseModel):
    """Everything that the page shows, but the pictures."""

    root: str
    version: str
    labels: list[str]
    images: list[ImageRow]


class ChangeRow(BaseModel):
    """What an image's row in annotations.csv is to be."""

    name: str
    label: str = ""
    flag: Literal["", "bad"] = ""
    note: str = ""


class Changes(BaseModel):
    """Made on the state `version`."""

    version: str
    changes: list[ChangeRow]


class Duplicates(BaseModel):
    """Groups of names of identical and nearly identical images, once the search for them is `done`."""

    done: bool
    groups: list[list[str]]


def create_app(store: AnnotationStore, token: str, port: int) -> FastAPI:
    """Serves the page to whoever comes with `token` first. Nothing but annotations.csv is ever written in the folder."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    door = _Door(token, port)
    background = ThreadPoolExecutor(1)
    search: list[Future[list[list[str]]]] = []

    @app.middleware("http")
    async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
        answer = door.refuse(request) or await call_next(request)
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    @app.exception_handler(DatasetError)
    async def refused(_: Request, error: DatasetError) -> Response:
        return JSONResponse({"detail": str(error)}, 409 if isinstance(error, ChangedElsewhere) else 422)

    @app.exception_handler(OSError)
    async def not_written(_: Request, error: OSError) -> Response:
        return JSONResponse({"detail": f"{error.strerror}: {error.filename}. The change was not saved."}, 507)

    @app.get("/")
    def page(request: Request) -> Response:
        return door.enter(request) or FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-store"})

    @app.get("/api/page")
    def state() -> Page:
        return _page(store)

    @app.get("/api/version")
    def version() -> str:
        return store.version()

    @app.post("/api/annotations")
    def annotate(changes: Annotated[Changes, Body()]) -> str:
        rows = [Change(row.name, Annotation(nfc(row.label.strip()), row.flag, row.note)) for row in changes.changes]
        return store.change(rows, changes.version)

    @app.get("/api/duplicates")
    def duplicates() -> Duplicates:
        if not search:
            search.append(background.submit(find_duplicates, store))
        return Duplicates(done=search[0].done(), groups=search[0].result() if search[0].done() else [])

    @app.get("/thumbnail")
    def small(name: str) -> Response:
        return _picture(store, name, thumbnail, "private, max-age=31536000, immutable")

    @app.get("/picture")
    def large(name: str) -> Response:
        return _picture(store, name, lambda path: picture(path.read_bytes(), PICTURE_SIDE), "no-store")

    app.mount("/static", StaticFiles(directory=PAGE))
    return app


def find_duplicates(store: AnnotationStore) -> list[list[str]]:
    """Groups of names, the cache of `salver check` in use."""
    names = store.images()
    paths = [path for name in names if (path := store.path(name))]
    with InspectionCache.of_user() as cache:
        inspections = inspect_files(paths, cache)
    links = [(group[0], other) for group in identical(inspections) for other in group[1:]]
    groups = joined(len(paths), [*links, *near_pairs(inspections)])
    return [[names[index] for index in group] for group in groups if len(group) > 1]


def serve(root: Path, port: int, ready: Callable[[str], None]) -> None:
    """Until Ctrl-C. `ready` gets the address with the token, once something listens there. Raises DatasetError, OSError."""
    store = AnnotationStore(root)
    with socket.create_server(("127.0.0.1", port)) as listener:
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        config = uvicorn.Config(create_app(store, token, port), log_level="warning", access_log=False)
        ready(f"http://127.0.0.1:{port}/?token={token}")
        uvicorn.Server(config).run(sockets=[listener])


class _Door:
    """Who may come in."""

    def __init__(self, token: str, port: int) -> None:
        self._token: str | None = token
        self._pass = secrets.token_urlsafe(24)
        self._cookie = f"salver-{port}"  # Cookies know no ports: two pages at once must not throw each other out.
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    def refuse(self, request: Request) -> Response | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if host not in self._hosts:
            return _refusal("This page answers under 127.0.0.1 only.")
        if request.method not in ("GET", "HEAD") and origin != f"http://{host}":
            return _refusal("Another site may not change annotations.")
        if request.url.path == "/" or self._known(request):
            return None
        return _refusal("Open the address that 'salver annotate' printed.")

    def enter(self, request: Request) -> Response | None:
        """The page's address without the token, when it is spent here; a refusal for who is not known; None to go on."""
        given = request.query_params.get("token")
        if given and self._token and secrets.compare_digest(given.encode(), self._token.encode()):
            self._token = None
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._cookie, self._pass, httponly=True, samesite="strict")
            return answer
        if self._known(request):
            return RedirectResponse("/", 303) if given else None
        return _refusal("The address works once. Start 'salver annotate' again for a new one.")

    def _known(self, request: Request) -> bool:
        return secrets.compare_digest(request.cookies.get(self._cookie, "").encode(), self._pass.encode())


def _refusal(text: str) -> Response:
    return Response(text, 403, media_type="text/plain")


def _page(store: AnnotationStore) -> Page:
    state = store.state()
    rows = []
    for image in state.folder.images:
        said = state.annotations.get(nfc(image.name), Annotation())
        rows.append(
            ImageRow(
                name=image.name,
                folder=image.label or "",
                label=said.label,
                flag=said.flag,
                note=said.note,
                stamp=_stamp(image.path),
            )
        )
    labels = {*state.folder.labels, *(row.label for row in rows)} - {""}
    return Page(
        root=str(store.root),
        version=state.version,
        labels=_ordered(labels),
        images=rows,
    )


def _ordered(labels: set[str]) -> list[str]:
    return sorted(labels, key=natural_order)


def _stamp(path: Path) -> str:
    return f"{Stamp.of(path).changed_ns:x}" if path.exists() else ""


def _picture(store: AnnotationStore, name: str, make: Callable[[Path], bytes], cached: str) -> Response:
    path = store.path(name)
    if path is None:
        raise HTTPException(404, "There is no such image.")
    try:
        return Response(make(path), media_type="image/jpeg", headers={"Cache-Control": cached})
    except (ImageError, OSError) as error:
        return Response(str(error), 422, media_type="text/plain", headers={"Cache-Control": "no-store"})
