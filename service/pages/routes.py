"""`GET /`, a page to try the service with, and `GET /docs`, the API's description: plain files, no key needed.

The description is shown by Swagger UI out of a wheel and from nowhere else. Of the wheel `fastapi-swagger` only Swagger
UI's files are used: its own page begins with an inline script, which a strict policy does not allow.
"""

import hashlib
import os
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from typing_extensions import override

LANDING = Path(__file__).with_name("landing")
DOCS = Path(__file__).with_name("docs")
DOCS_PAGE = "docs.html"
SWAGGER_UI = frozenset({"swagger-ui-bundle.js", "swagger-ui.css"})
# Not guessed: the tables of Python and of the system differ, and a browser takes no script of another type.
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
BEGINS = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "
ENDS = "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
LANDING_POLICY = f"{BEGINS}blob:{ENDS}; require-trusted-types-for 'script'; trusted-types 'none'"
DOCS_POLICY = f"{BEGINS}data:{ENDS}"
"""As for `GET /`, but for the pictures in Swagger UI's style, and for Markdown, which it sets as HTML."""
HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Asked for each time, and answered 304 while it is the same: a page never runs with another version's modules.
    "Cache-Control": "no-cache",
}


class Page(StaticFiles):
    """The files of one page, answered with its headers."""

    def __init__(self, names: frozenset[str], policy: str, directory: Path, *packages: tuple[str, str]) -> None:
        """`packages` are folders in other packages that hold some of the files."""
        super().__init__(directory=directory, packages=list(packages))
        self._names = names
        self._headers = {**HEADERS, "Content-Security-Policy": policy}

    async def answer(self, request: Request, name: str) -> Response:
        """The file of that name, or 304 when the browser has it. Raises HTTPException 404 for all other names."""
        if name not in self._names:
            raise HTTPException(404)
        return await self.get_response(name, request.scope)

    @override
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        path = Path(full_path)
        content, tag = _read(path)
        headers = self._headers | {"ETag": tag}
        if self.is_not_modified(Headers(headers), Headers(scope=scope)):
            return Response(status_code=304, headers=headers)
        return Response(content, status_code, headers, MEDIA_TYPES[path.suffix])


@cache
def _read(file: Path) -> tuple[bytes, str]:
    """The file and its entity tag, which is of the content: every file out of a wheel has the same time, in every
    version. Read when first asked for.
    """
    content = file.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _names(folder: Path) -> frozenset[str]:
    return frozenset(file.name for file in folder.iterdir() if file.suffix in MEDIA_TYPES)


landing = Page(_names(LANDING), LANDING_POLICY, LANDING)
docs = Page(_names(DOCS) | SWAGGER_UI, DOCS_POLICY, DOCS, ("fastapi_swagger", "resources"))
router = APIRouter(include_in_schema=False)


@router.get("/")
async def landing_page(request: Request) -> Response:
    """The page itself; shows nothing of the model without a key."""
    return await landing.answer(request, "index.html")


@router.get("/page/{name}")
async def landing_part(request: Request, name: str) -> Response:
    """Its style, modules and icon."""
    return await landing.answer(request, name)


@router.get("/docs")
async def docs_page(request: Request) -> Response:
    """The description as a page to read and to try."""
    return await docs.answer(request, DOCS_PAGE)


@router.get("/docs/{name}")
async def docs_part(request: Request, name: str) -> Response:
    """Its scripts and style."""
    if name == DOCS_PAGE:  # its links lead from /docs
        raise HTTPException(404)
    return await docs.answer(request, name)
