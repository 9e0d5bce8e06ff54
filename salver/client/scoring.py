"""Scores images with a running service."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Self
from urllib.parse import urlsplit

import httpx

from salver.client.errors import ClientError, KeyRefused, RequestRefused, ServiceUnreachable, UnexpectedAnswer
from salver.client.image import Item, Source, item
from salver.client.result import Score, ScoreError, parse_answer, parse_problem
from salver.client.web import Connections, reason
from salver.text import without_login

MAX_ITEMS = 32
# Half of what a service takes in one request unless it is set otherwise.
MAX_TEXT_BYTES = 16 * 1024**2
MAX_ANSWER_BYTES = 64 * 1024**2
"""Of one request; 32 images with the scores of 50,000 labels are less."""

LATER_PARAMETERS = ("familiarity", "reject_foreign", "features", "heat_map")
"""What a service of an earlier version does not know."""


class ScoringClient:
    """One service, reached over kept-alive connections; close it, or use it as a context manager."""

    def __init__(self, url: str, key: str | None = None, timeout_seconds: float = 30.0) -> None:
        """`url` is the service's, with or without `/score`; `timeout_seconds` bounds each wait for one request.

        A service of this machine is reached directly, any other as HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say.

        Raises:
            ServiceUnreachable: `url` is not one of a service, or the environment names a proxy or certificates for it
                that cannot be used.
            ClientError: `key` cannot be sent.
        """
        scheme, _, place = url.strip().partition("://")
        _check(scheme, place, without_login(url))
        key = (key or "").strip()
        if not key.isprintable():
            raise ClientError("The key holds a control character; is it the right file or variable?")
        self._url = f"{scheme.lower()}://{place.rstrip('/').removesuffix('/score')}/score"
        self._shown = without_login(self._url)
        headers = {b"Content-Type": b"application/json", b"Accept-Encoding": b"identity"}
        if key:
            headers[b"Authorization"] = b"Bearer " + key.encode()
        self._connections = Connections(self._url, timeout_seconds, headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connections.http.close()

    def score(
        self,
        images: "Source | Iterable[Source]",
        softmax: bool = False,  # documented by its place
        top_k: int | None = None,
        resize: tuple[int, int] | None = None,
        *,
        familiarity: bool = False,
        reject_foreign: bool = False,
        features: bool = False,
        heat_map: bool | str | None = None,
    ) -> list[Score | ScoreError]:
        """The result of each image, in order; of one image that is not in a list, a list of one.

        An image is a path, an http(s) URL (which the service fetches), the bytes of a file or a PIL image. Long lists
        are sent in several requests. `resize` (height, width) shrinks local images before they are sent: each keeps its
        proportions and still covers height × width, so give at least the size that the model works at.

        With `familiarity` each result says how much the image is like the training photos and whether it is foreign;
        with `reject_foreign` a foreign image gets no label; `features` gives what the last layer reads, and `heat_map`
        what each place adds to a label's logit: True for the best label's, or a label's name. A place is one of the
        image as it was sent: with `resize`, of the smaller one.

        Raises:
            ServiceUnreachable: there was no answer.
            RequestRefused, KeyRefused: the service refused a whole request, also for something that its model file
                does not give.
            UnexpectedAnswer: what answered is not a Salver service.
        """
        if resize is not None and min(resize) < 1:
            raise ValueError(f"resize is (height, width) of at least 1 pixel, not {resize}")
        beside = {"familiarity": familiarity, "reject_foreign": reject_foreign, "features": features}
        parameters: dict[str, int | str] = {"add_softmax": softmax}
        if top_k is not None:
            parameters["top_k"] = top_k
        parameters |= {name: value for name, value in beside.items() if value}  # an earlier service knows none of them
        if heat_map is not None and heat_map is not False:
            parameters["heat_map"] = heat_map
        results: list[Score | ScoreError] = []
        for batch in _batches(item(source, resize) for source in _listed(images)):
            results += self._score(batch, parameters)
        return results

    def _score(self, batch: list[Item | ScoreError], parameters: dict[str, int | str]) -> list[Score | ScoreError]:
        items: list[dict[str, object]] = [
            {image.field: image.text, "parameters": parameters} for image in batch if isinstance(image, Item)
        ]
        answers = self._post(items) if items else []
        if len(answers) != len(items):
            raise UnexpectedAnswer(f"The number of images that were sent is {len(items)}, of results {len(answers)}.")
        results = iter(answers)
        return [image if isinstance(image, ScoreError) else next(results) for image in batch]

    def _post(self, items: list[dict[str, object]]) -> list[Score | ScoreError]:
        try:
            status, content = self._answer(json.dumps(items))
        except httpx.TimeoutException:
            raise ServiceUnreachable(
                f"{self._shown} did not answer in time; wait longer or send smaller images."
            ) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServiceUnreachable(
                f"{self._shown} could not be reached{self._connections.way} ({reason(error)}); is the service running?"
            ) from error
        if status == httpx.codes.OK:
            return parse_answer(content)
        return _item_errors(self._shown + self._connections.way, status, content, len(items))

    def _answer(self, body: str) -> tuple[int, bytes]:
        """Status and content, which is read as it comes: uncompressed, as it was asked for, and no more than fits."""
        content = bytearray()
        with self._connections.http.stream("POST", self._url, content=body) as response:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise UnexpectedAnswer(f"{self._shown} answered compressed, which was not asked for.")
            for piece in response.iter_raw():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise UnexpectedAnswer(f"{self._shown} answered with more than {MAX_ANSWER_BYTES:,} bytes.")
        return response.status_code, bytes(content)


def _check(scheme: str, place: str, shown: str) -> None:
    """Raises ServiceUnreachable, with the URL as it may be `shown`, when nothing can be asked there."""
    try:
        parts = urlsplit(f"{scheme.lower()}://{place}")
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets without an address
        is_one = False
    if not is_one:
        raise ServiceUnreachable(f"'{shown}' is not the URL of a service; write one like http://127.0.0.1:8000.")
    try:
        is_port = parts.port != 0
    except ValueError:
        is_port = False
    if not is_port:
        raise ServiceUnreachable(f"'{shown}' is not the URL of a service: its port is not one of 1 to 65535.")


def _item_errors(url: str, status: int, content: bytes, count: int) -> list[Score | ScoreError]:
    """The images' own errors when each of them failed for itself; otherwise raises the request's."""
    problem = parse_problem(content)
    if problem is None:
        raise UnexpectedAnswer(f"{url} answered with HTTP status {status}: is it the URL of a Salver service?")
    if len(problem.errors) == count:
        return list(problem.errors)
    kind = KeyRefused if status == httpx.codes.UNAUTHORIZED else RequestRefused
    raise kind(f"{problem.title}: {problem.detail}{_of_earlier(problem.detail)}", status, problem.type)


def _of_earlier(detail: str) -> str:
    """What to do where a service does not know a parameter that this client does."""
    unknown = any(detail.startswith(f"Unknown field: item 0, parameters, {name}.") for name in LATER_PARAMETERS)
    return " The service is of an earlier version than this client: update it, or ask without." if unknown else ""


def _listed(images: "Source | Iterable[Source]") -> Iterable[Source]:
    """Strings, bytes and paths are one image each, and so is a PIL image, which cannot be iterated over."""
    return [images] if isinstance(images, str | bytes | os.PathLike) or not isinstance(images, Iterable) else images


def _batches(images: Iterable[Item | ScoreError]) -> Iterator[list[Item | ScoreError]]:
    """Lists that a service takes in one request; they are read when they are sent, so memory holds only one."""
    batch: list[Item | ScoreError] = []
    size = 0
    for image in images:
        length = len(image.text) if isinstance(image, Item) else 0
        if batch and (len(batch) == MAX_ITEMS or size + length > MAX_TEXT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(image)
        size += length
    if batch:
        yield batch
