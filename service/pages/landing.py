"""`GET /`: a page to try the service with. Plain files of this package; it asks the API what any caller could ask."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

FILES = Path(__file__).with_name("landing")
MEDIA_TYPES = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "answer.js": "text/javascript",
    "card.js": "text/javascript",
    "service.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Asked for each time, and answered 304 while it is the same: a page never runs with another version's modules.
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    """The page itself; needs no key, and shows nothing of the model without one."""
    return file_answer(request, FILES / "index.html", MEDIA_TYPES["index.html"])


@router.get("/page/{name}")
async def part(request: Request, name: str) -> Response:
    """Its style, modules and icon."""
    if name not in MEDIA_TYPES:
        raise HTTPException(404)
    return file_answer(request, FILES / name, MEDIA_TYPES[name])


def file_answer(request: Request, file: Path, media_type: str, headers: Mapping[str, str] = HEADERS) -> Response:
    """A file of a page, or 304 when the browser has it."""
    content, tag = _read(file)
    headers = {**headers, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@cache
def _read(file: Path) -> tuple[bytes, str]:
    """The file and its entity tag; read when first asked for."""
    content = file.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
