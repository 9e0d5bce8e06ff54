"""The annotation page's server: on 127.0.0.1 only, for the one browser that came with the token."""

import secrets
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.middleware.base import RequestResponseEndpoint
from starlette.staticfiles import StaticFiles

from salver.artifact.errors import DecodingUnavailable, ImageError
from salver.system.regular_file import read_regular
from salver.text import printable, validation_message
from training.dataset.annotate.access import Access
from training.dataset.annotate.api import Changes, Duplicates, Page, page_of
from training.dataset.annotate.store import AnnotationStore, Change, ChangedElsewhere
from training.dataset.inspection.duplicates import identical, joined, near_pairs
from training.dataset.inspection.files import inspect_files
from training.dataset.inspection.thumbnails import PICTURE_SIDE, picture, thumbnail
from training.dataset.reading.annotations import Annotation
from training.dataset.reading.folder import nfc
from training.errors import DatasetError

PAGE = Path(__file__).with_name("page")
POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors {}; base-uri 'none'; form-action 'none'"
NOTEBOOKS = "http://127.0.0.1:* http://localhost:*"
"""Pages of this machine, which may show the page inside of theirs when it is opened for that."""


def create_app(store: AnnotationStore, token: str, port: int, *, framed: bool = False) -> FastAPI:
    """Serves the page to whoever comes with `token` first. Nothing but annotations.csv is ever written."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    access = Access(token, port)
    search = _Search(store)
    policy = POLICY.format(NOTEBOOKS if framed else "'none'")

    @app.middleware("http")
    async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
        answer = access.refuse(request) or await call_next(request)
        answer.headers["Content-Security-Policy"] = policy
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    @app.exception_handler(DatasetError)
    async def refused(_: Request, error: DatasetError) -> Response:
        return JSONResponse({"detail": str(error)}, 409 if isinstance(error, ChangedElsewhere) else 422)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        # Without what was sent, which may be no text that JSON can hold.
        first = error.errors()[0]
        place = printable(".".join(map(str, first["loc"])))
        return JSONResponse({"detail": f"{place}: {validation_message(first['msg'])}. Reload the page."}, 422)

    @app.exception_handler(OSError)
    async def not_written(_: Request, error: OSError) -> Response:
        return JSONResponse({"detail": f"{error.strerror}: {error.filename}. The change was not saved."}, 507)

    @app.get("/")
    def page(request: Request) -> Response:
        return access.enter(request) or FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-store"})

    @app.get("/api/page")
    def state() -> Page:
        return page_of(store)

    @app.get("/api/version")
    def version() -> str:
        return store.version()

    @app.post("/api/annotations")
    def annotate(changes: Annotated[Changes, Body()]) -> str:
        rows = [Change(row.name, Annotation(nfc(row.label.strip()), row.flag, row.note)) for row in changes.changes]
        return store.change(rows, changes.version)

    @app.get("/api/duplicates")
    def duplicates() -> Duplicates:
        return search.answer()

    @app.get("/thumbnail")
    def small(name: str) -> Response:
        return _picture(store, name, thumbnail, "private, max-age=31536000, immutable")

    @app.get("/picture")
    def large(name: str) -> Response:
        return _picture(store, name, lambda path: picture(read_regular(path), PICTURE_SIDE), "no-store")

    app.mount("/static", StaticFiles(directory=PAGE))
    return app


class _Search:
    """Looks for duplicates when first asked, on a thread that does not keep the process from ending."""

    def __init__(self, store: AnnotationStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._found: Future[list[list[str]]] | None = None

    def answer(self) -> Duplicates:
        with self._lock:
            if self._found is None:
                self._found = Future()
                threading.Thread(target=self._run, args=(self._found,), daemon=True).start()
            found = self._found
            if found.done() and found.exception():
                self._found = None  # who asks again has it tried again
        done = found.done()
        return Duplicates(done=done, groups=found.result() if done else [])

    def _run(self, found: Future[list[list[str]]]) -> None:
        try:
            found.set_result(find_duplicates(self._store))
        finally:
            # Whatever ended it, the page must not wait for ever; Python shows it on the terminal, with its traceback.
            if error := sys.exception():
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                found.set_exception(
                    DatasetError(
                        f"The search for duplicates failed ({printable(reason)[:300]}); the terminal has more. Choose "
                        "another filter and this one again to search once more."
                    )
                )


def find_duplicates(store: AnnotationStore) -> list[list[str]]:
    """Groups of names, the cache of `salver check` in use."""
    names = store.images()
    paths = [path for name in names if (path := store.path(name))]
    inspections = inspect_files(paths)
    links = [(group[0], other) for group in identical(inspections) for other in group[1:]]
    groups = joined(len(paths), [*links, *near_pairs(inspections)])
    return [[names[index] for index in group] for group in groups if len(group) > 1]


@dataclass(frozen=True)
class OpenPage:
    """A server that listens already and answers once it runs."""

    server: uvicorn.Server
    listener: socket.socket
    port: int
    token: str

    def run(self) -> None:
        """Until the server is told to exit, on the main thread also by Ctrl-C."""
        with self.listener, suppress(KeyboardInterrupt):  # uvicorn has ended in order by then
            self.server.run(sockets=[self.listener])


def open_page(root: Path, port: int, *, framed: bool = False) -> OpenPage:
    """On 127.0.0.1; 0 takes a free port. Raises DatasetError and OSError."""
    store = AnnotationStore(root)
    listener = socket.create_server(("127.0.0.1", port))
    port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    config = uvicorn.Config(create_app(store, token, port, framed=framed), log_level="warning", access_log=False)
    return OpenPage(uvicorn.Server(config), listener, port, token)


def serve(root: Path, port: int, ready: Callable[[str], None]) -> None:
    """Until Ctrl-C. `ready` gets the address with the token. Raises DatasetError and OSError."""
    page = open_page(root, port)
    # An exception out of a signal's handler is lost where Python calls back, as between here and the running server.
    with suppress(KeyboardInterrupt), page.server.capture_signals():
        ready(f"http://127.0.0.1:{page.port}/?token={page.token}")
        page.run()


def _picture(store: AnnotationStore, name: str, make: Callable[[Path], bytes], cached: str) -> Response:
    path = store.path(name)
    if path is None:
        raise HTTPException(404, "There is no such image.")
    try:
        return Response(make(path), media_type="image/jpeg", headers={"Cache-Control": cached})
    except (ImageError, DecodingUnavailable, OSError) as error:
        return Response(str(error), 422, media_type="text/plain", headers={"Cache-Control": "no-store"})
