"""Where text queries are answered: Openverse.

api.openverse.org/v1/images: openly licensed works with licence and author of each; no key needed, then 20 results a
page.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import httpx
from pydantic import BaseModel, ValidationError

from salver.errors import VariableError
from training.dataset.gather.download import content, opened
from training.errors import SettingError, SourceError

OPENVERSE = "https://api.openverse.org/v1/images/"
MAX_PAGE_BYTES = 8 * 1024**2
"""Of one page of results; real ones have some 100 kB."""


@dataclass(frozen=True)
class Hit:
    """An image that a provider found; `page` is where a person finds it. What is not known is empty."""

    url: str
    page: str = ""
    licence: str = ""
    licence_url: str = ""
    author: str = ""
    title: str = ""


class Provider(Protocol):
    """Answers text queries."""

    @property
    def name(self) -> str:
        """As on the command line."""

    def search(self, client: httpx.AsyncClient, query: str) -> AsyncIterator[Hit]:
        """Hits, best first, page after page as they are taken. Raises SourceError."""


class _OpenverseHit(BaseModel):
    url: str
    foreign_landing_url: str | None = None
    license: str | None = None
    license_version: str | None = None
    license_url: str | None = None
    creator: str | None = None
    title: str | None = None

    def hit(self) -> Hit:
        licence = " ".join(filter(None, (self.license, self.license_version)))
        return Hit(
            self.url,
            self.foreign_landing_url or "",
            licence,
            self.license_url or "",
            self.creator or "",
            self.title or "",
        )


class _OpenversePage(BaseModel):
    page_count: int
    results: list[_OpenverseHit]


@dataclass(frozen=True)
class Openverse:
    """`address` is another one in tests only."""

    address: str = OPENVERSE
    name: str = "openverse"

    async def search(self, client: httpx.AsyncClient, query: str) -> AsyncIterator[Hit]:
        number = 1
        while True:
            text = await _get(client, self, self.address, {"q": query, "page": str(number), "page_size": "20"})
            page = _parsed(text)
            for found in page.results:
                yield found.hit()
            if number >= page.page_count or not page.results:
                return
            number += 1


def provider(name: str) -> Provider:
    """By its name. Raises SettingError for `bing` and an unknown name."""
    if name == "openverse":
        return Openverse()
    if name == "bing":
        raise SettingError(
            "Microsoft retired the Bing Search API in August 2025. Take --provider openverse (no key needed)."
        )
    raise SettingError(f"'{name}' is not a search provider: take openverse.")


class _Fault(BaseModel):
    """Openverse says what is wrong in `detail`, a text or an object."""

    detail: object = None


async def _get(client: httpx.AsyncClient, source: Provider, address: str, question: dict[str, str]) -> bytes:
    """The body of a 200. Raises SourceError."""
    try:
        async with opened(client, address, question) as answer:
            text = await content(answer, MAX_PAGE_BYTES)
    except VariableError as error:
        raise SourceError(f"{source.name} cannot be reached: {error}") from error
    except httpx.HTTPError as error:
        raise SourceError(f"{source.name} cannot be reached: {type(error).__name__}. Run the command again.") from error
    except SourceError as error:
        raise SourceError(f"{source.name} gives an answer that {error}.") from error
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise SourceError(f"{source.name} allows no more queries for now{_reason(text)}. Run the command again later.")
    if not answer.is_success:
        raise SourceError(f"{source.name} answered {answer.status_code}{_reason(text)}.")
    return text


def _parsed(text: bytes) -> _OpenversePage:
    try:
        return _OpenversePage.model_validate_json(text)
    except ValidationError as error:
        raise SourceError(f"Openverse answered in a form that is not known: {error.errors()[0]['msg']}.") from error


def _reason(text: bytes) -> str:
    try:
        detail = _Fault.model_validate_json(text).detail
    except ValidationError:
        return ""
    return f" ({' '.join(str(detail).split()).rstrip('.')[:200]})" if detail else ""
