"""`GET /docs`: the API's description as a page to read and to try, by Swagger UI out of a wheel and from nowhere else.

Of the wheel `fastapi-swagger` only Swagger UI's files are used: its own page begins with an inline script, which a
strict policy does not allow.
"""

from importlib import resources
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from service.pages.landing import HEADERS, file_answer

OWN = Path(__file__).with_name("docs")
WHEEL = Path(str(resources.files("fastapi_swagger")), "resources")
FILES = {
    "docs.js": (OWN, "text/javascript"),
    "docs.css": (OWN, "text/css"),
    "swagger-ui-bundle.js": (WHEEL, "text/javascript"),
    "swagger-ui.css": (WHEEL, "text/css"),
}
PAGE_HEADERS = HEADERS | {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
"""As for `GET /`, but for the pictures in Swagger UI's style, and for Markdown, which it sets as HTML."""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def page(request: Request) -> Response:
    """The page; needs no key, as the description does not."""
    return file_answer(request, OWN / "docs.html", "text/html", PAGE_HEADERS)


@router.get("/docs/{name}")
async def part(request: Request, name: str) -> Response:
    """Its scripts and style."""
    if name not in FILES:
        raise HTTPException(404)
    folder, media_type = FILES[name]
    return file_answer(request, folder / name, media_type, PAGE_HEADERS)
