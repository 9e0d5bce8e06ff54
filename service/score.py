"""`POST /score`: a request's bytes to an answer's bytes."""

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from service.answer import answer_all, answer_item, problem_json
from service.errors import ScoringError, as_scoring_errors
from service.lifecycle import Lifecycle
from service.openapi import JSON, PROBLEM_JSON
from service.queue import Encoded, Outcome
from service.request import ScoreItem


async def score(request: Request) -> Response:
    """Answer one request; every error it raises is a ScoringError of the closed set."""
    service: Lifecycle = request.app.state.service
    headers = dict(request.scope["headers"])
    service.keys.check(headers.get(b"authorization"))
    model = service.model
    seconds = service.settings.request_timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            _check_content_type(headers.get(b"content-type", b"").decode("latin-1"))
            body = await _read(request, headers.get(b"content-length"), service.settings.max_body_bytes)
            items = service.parser.parse(body)
            outcomes = await _outcomes(service, items)
    except TimeoutError:
        raise ScoringError("deadline-exceeded", f"No answer within {seconds:g} seconds: send fewer images.") from None
    failures = [outcome for outcome in outcomes if isinstance(outcome, ScoringError)]
    if len(failures) == len(items):
        return problem_response(failures[0], failures)
    answers = [answer_item(model, *pair) for pair in zip(outcomes, (i.parameters for i in items), strict=True)]
    return Response(answer_all(answers), media_type=JSON, headers={"X-Model-Version": model.version})


def problem_response(error: ScoringError, failures: Sequence[ScoringError] = ()) -> Response:
    """The error as a whole answer."""
    return Response(problem_json(error, failures), error.status, error.headers, PROBLEM_JSON)


def _check_content_type(content_type: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [p.removeprefix("charset=").strip('"') for p in parameters if p.startswith("charset=")]
    if media_type != JSON or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise ScoringError(
            "unsupported-media-type",
            f"The header Content-Type is {content_type[:100]!r}: send 'Content-Type: application/json' in UTF-8.",
        )


async def _read(request: Request, content_length: bytes | None, max_bytes: int) -> bytes:
    """The body, refused as soon as its declared or received length passes the limit."""
    refusal = ScoringError(
        "payload-too-large", f"The limit is {max_bytes} bytes in a request: send the list in parts or smaller images."
    )
    if content_length is not None and int(content_length) > max_bytes:
        raise refusal
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise refusal
        chunks.append(chunk)
    return b"".join(chunks)


async def _outcomes(service: Lifecycle, items: Sequence[ScoreItem]) -> list[Outcome]:
    """One outcome an item, in order: fetch what is a URL, then score what is there."""
    images = await asyncio.gather(*(_encoded(service, item) for item in items))
    results = iter(await service.scorer.score([image for image in images if not isinstance(image, ScoringError)]))
    return [image if isinstance(image, ScoringError) else next(results).outcome for image in images]


async def _encoded(service: Lifecycle, item: ScoreItem) -> Encoded | ScoringError:
    if item.image_in_base64 is not None:
        return item.image_in_base64
    assert item.image_url is not None
    try:
        with as_scoring_errors():
            return await service.fetcher.fetch(item.image_url)
    except ScoringError as error:
        return error
