"""`POST /score`: a request's bytes to an answer's bytes."""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from service.api.answer import answer_all, answer_item, problem_json
from service.api.body import joined, read_body, read_head, read_media, read_pieces
from service.api.form import Form
from service.api.json_body import JsonBody
from service.api.query import check_no_query, parse_query
from service.api.request import BodyParser, Item, Url, check_outputs, ruled
from service.api.responses import JSON, PROBLEM_JSON
from service.errors import ScoringError
from service.fetch.resolve import CALLER
from service.limits.request import Deadline, Share
from service.scoring.encoded import Encoded
from service.scoring.outcome import Wanted, held_bytes
from service.scoring.scorer import Result
from service.scoring.served import ServedModel
from service.service import Service, service_of
from service.telemetry.middleware import observation_of

FETCHES_PER_REQUEST = 8
Headers = Mapping[bytes, bytes]


async def score(request: Request) -> Response:
    """Answer one request; every error it raises is a ScoringError of the closed set, or ClientDisconnect."""
    service = service_of(request)
    observation = observation_of(request)
    headers: Headers = dict(request.scope["headers"])
    caller = service.keys.check(headers.get(b"authorization"))
    with service.live as live:  # once: the whole answer is one model's
        async with Deadline(service.settings.request_timeout_seconds) as deadline:
            items = ruled(await _items(service, request, headers, observation.share), service.settings)
            check_outputs(items, live.model.manifest)
            observation.share.add(held_bytes(live.model.manifest, [item.parameters.wanted for item in items]))
            service.rate_limit.charge(caller, len(items))
            observation.received(len(items))
            deadline.watch(request.receive)
            results = await _results(service, live, items, caller or _address(request))
    model = live.model
    observation.scored(results, model.manifest.labels)
    failures = [result.outcome for result in results if isinstance(result.outcome, ScoringError)]
    if len(failures) == len(items):
        return problem_response(failures[0], failures)
    answers = [answer_item(model, r, i.parameters) for r, i in zip(results, items, strict=True)]
    content = answer_all(answers)
    observation.share.grow_to(len(content))
    return Response(content, media_type=JSON, headers={"X-Model-Version": model.version})


def _address(request: Request) -> bytes:
    """Where a caller without a key is."""
    return b"" if request.client is None else request.client.host.encode()


def problem_response(error: ScoringError, failures: Sequence[ScoringError] = ()) -> Response:
    """The error as a whole answer."""
    return Response(problem_json(error, failures), error.status, error.headers, PROBLEM_JSON)


async def _items(service: Service, request: Request, headers: Headers, share: Share) -> list[Item]:
    """What is asked for, whichever way it came; refused before the body is read where the head tells."""
    settings, head = service.settings, read_head(headers)
    media, query = read_media(head.content_type), request.scope["query_string"]
    if media.form == "json":
        if query:
            check_no_query(query)
        body = JsonBody(settings.max_items)
        await read_pieces(request.receive, head, settings.max_body_bytes, share, take=body.write)
        items = _parser(settings.max_items).parse(body)
        share.grow_to(sum(sys.getsizeof(item.image.text) for item in items if isinstance(item.image, Url)))
        return items
    parameters = parse_query(query)
    if media.form == "image":
        max_bytes = min(settings.max_body_bytes, settings.max_image_bytes)
        return [Item(await read_body(request.receive, head, max_bytes, share), parameters)]
    form = Form(media.boundary, settings.max_items)
    await read_pieces(request.receive, head, settings.max_body_bytes, share, take=form.write)
    return [Item(await joined(file), parameters) for file in form.files()]


@cache
def _parser(max_items: int) -> BodyParser:
    return BodyParser(max_items)  # pydantic makes it in milliseconds


async def _results(service: Service, live: ServedModel, items: Sequence[Item], caller: bytes) -> list[Result]:
    """One result an item, in order."""
    inline = [item.image for item in items if not isinstance(item.image, Url)]
    wanted = [item.parameters.wanted for item in items if not isinstance(item.image, Url)]
    if len(inline) == len(items):
        return await live.score(inline, wanted)
    CALLER.set(caller)
    gate = asyncio.Semaphore(FETCHES_PER_REQUEST)
    fetching = (
        _fetched(service, live, gate, item.image, item.parameters.wanted)
        for item in items
        if isinstance(item.image, Url)
    )
    sent, fetched = map(iter, await asyncio.gather(_scored(live, inline, wanted), asyncio.gather(*fetching)))
    return [next(fetched if isinstance(item.image, Url) else sent) for item in items]


async def _fetched(service: Service, live: ServedModel, gate: asyncio.Semaphore, url: Url, wanted: Wanted) -> Result:
    """The result of one URL. Its bytes are held no longer than it takes to score them, and by few at a time."""
    async with gate:
        with service.budget.share() as share:
            began = time.perf_counter()
            try:
                image = await service.fetcher.fetch(url.text, share.grow_to)
            except ScoringError as error:
                return Result(error, fetch_seconds=time.perf_counter() - began)
            seconds = time.perf_counter() - began
            (result,) = await _scored(live, [image], [wanted])
            return replace(result, fetch_seconds=seconds)


async def _scored(live: ServedModel, images: Sequence[Encoded], wanted: Sequence[Wanted]) -> list[Result]:
    """As `ServedModel.score`, but a full queue is these images' own error."""
    try:
        return await live.score(images, wanted)
    except ScoringError as error:
        return [Result(error)] * len(images)
