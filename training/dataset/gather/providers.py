"""Where text queries are answered: Openverse and Google Programmable Search.

Openverse: api.openverse.org/v1/images, openly licensed works with licence and author of each; no key needed, then 20
results a page. Google: the Custom Search JSON API, at most 100 results a query; it is closed to new customers, and
those who have a key keep it until January 2027.
"""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypeVar

import httpx
from pydantic import BaseModel, Field, ValidationError

from salver.errors import VariableError
from training.dataset.gather.download import content, opened
from training.errors import SettingError, SourceError

OPENVERSE = "https://api.openverse.org/v1/images/"
GOOGLE = "https://www.googleapis.com/customsearch/v1"
GOOGLE_KEY, GOOGLE_ENGINE = "SALVER_GOOGLE_KEY", "SALVER_GOOGLE_ENGINE"
MAX_PAGE_BYTES = 8 * 1024**2
"""Of one page of results; real ones have some 100 kB."""
PROVIDERS = ("openverse", "google", "bing")

Page = TypeVar("Page", bound=BaseModel)
ProviderName = Literal["openverse", "google", "bing"]


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
            page = _parsed(_OpenversePage, text, "Openverse")
            for found in page.results:
                yield found.hit()
            if number >= page.page_count or not page.results:
                return
            number += 1


class _GoogleImage(BaseModel):
    page: Annotated[str, Field(alias="contextLink")] = ""


class _GoogleItem(BaseModel):
    link: str
    title: str = ""
    image: _GoogleImage = _GoogleImage()


class _GooglePage(BaseModel):
    items: Annotated[list[_GoogleItem], Field(default_factory=list)]


@dataclass(frozen=True)
class Google:
    """Says nothing about licences: find out on the page of each image before you use it."""

    key: str
    engine: str
    address: str = GOOGLE
    name: str = "google"

    async def search(self, client: httpx.AsyncClient, query: str) -> AsyncIterator[Hit]:
        for start in range(1, 100, 10):
            question = {"key": self.key, "cx": self.engine, "q": query, "searchType": "image", "num": "10"}
            text = await _get(client, self, self.address, question | {"start": str(start)})
            page = _parsed(_GooglePage, text, "Google")
            for item in page.items:
                yield Hit(item.link, item.image.page, title=item.title)
            if len(page.items) < 10:
                return


def provider(name: str, environment: Mapping[str, str] | None = None) -> Provider:
    """By its name. Raises SettingError for `bing`, an unknown name, and Google without key and engine."""
    environment = os.environ if environment is None else environment
    if name == "openverse":
        return Openverse()
    if name == "google":
        key, engine = environment.get(GOOGLE_KEY), environment.get(GOOGLE_ENGINE)
        if not key or not engine:
            raise SettingError(
                f"Google Programmable Search needs a key and an engine id: set {GOOGLE_KEY} and {GOOGLE_ENGINE}, or "
                "take --provider openverse, which needs neither."
            )
        return Google(key, engine)
    if name == "bing":
        raise SettingError(
            "Microsoft retired the Bing Search API in August 2025. Take --provider openverse (no key needed) or "
            "--provider google (key and engine id)."
        )
    raise SettingError(f"'{name}' is not a search provider: take openverse or google.")


class _Fault(BaseModel):
    """Google's errors are objects under `error`; Openverse's have a `detail`."""

    error: "_GoogleFault | None" = None
    detail: object = None


class _GoogleFault(BaseModel):
    message: str = ""


async def _get(client: httpx.AsyncClient, source: Provider, address: str, question: dict[str, str]) -> bytes:
    """The body of a 200. Raises SourceError; the key of a question stays out of its text."""
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


def _parsed(form: type[Page], text: bytes, name: str) -> Page:
    try:
        return form.model_validate_json(text)
    except ValidationError as error:
        raise SourceError(f"{name} answered in a form that is not known: {error.errors()[0]['msg']}.") from error


def _reason(text: bytes) -> str:
    try:
        fault = _Fault.model_validate_json(text)
    except ValidationError:
        return ""
    reason = fault.error.message if fault.error else fault.detail
    return f" ({' '.join(str(reason).split()).rstrip('.')[:200]})" if reason else ""
