"""`POST /v2/models/NAME/infer` of the Open Inference Protocol: a request's bytes to an answer's bytes."""

import asyncio
from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from service.api.body import SHORT_BYTES, joined, read_head, read_pieces
from service.api.responses import JSON
from service.api.v2.request import LENGTH_HEADER, WHOLE_BYTES, InferBody, InferRequest
from service.api.v2.response import respond
from service.errors import ScoringError
from service.limits.request import Deadline, Share
from service.scoring.encoded import Encoded
from service.scoring.model import Model
from service.scoring.outcome import VALUE_BYTES, Outputs, held_bytes
from service.scoring.scorer import Result
from service.service import Service
from service.telemetry.middleware import observation_of

BINARY = "application/octet-stream"
ANSWERED_BYTES = 64
"""Of one value of an output besides the logits: as a number of Python's and as text."""
RAW_COPIES = 3
"""How often the bytes after the JSON are in memory while images are made of them."""


async def answer(service: Service, request: Request, caller: bytes) -> Response:
    """Answer one request; every error it raises is a ScoringError of the closed set, or ClientDisconnect."""
    observation = observation_of(request)
    with service.live as live:  # once: the whole answer is one model's
        model = live.model
        async with Deadline(service.settings.request_timeout_seconds) as deadline:
            asked, images = await _asked(service, request, model, observation.share)
            wanted = asked.of_model(model.manifest)
            if service.settings.reject_foreign:
                wanted |= {"familiarity"}
            values = held_bytes(model.manifest, [wanted] * len(images)) // VALUE_BYTES
            observation.share.add(ANSWERED_BYTES * values)
            service.rate_limit.charge(caller, len(images))
            observation.received(len(images))
            deadline.watch(request.receive)
            results = await live.score(images, [wanted] * len(images))
    observation.scored(results, model.manifest.labels)
    reject = service.settings.reject_foreign
    content, json_length = respond(asked, service.settings.model_name, model, _outputs(results), reject=reject)
    observation.share.grow_to(len(content))
    headers = {"X-Model-Version": model.version}
    if json_length is None:
        return Response(content, media_type=JSON, headers=headers)
    return Response(content, media_type=BINARY, headers=headers | {LENGTH_HEADER: str(json_length)})


async def _asked(
    service: Service, request: Request, model: Model, share: Share
) -> tuple[InferRequest, Sequence[Encoded]]:
    """What is asked for, and its images, which are all that is kept of the body."""
    settings, headers = service.settings, dict(request.scope["headers"])
    head = read_head(headers)
    _check_content_type(head.content_type)
    body = InferBody(settings.max_items, headers.get(LENGTH_HEADER.lower().encode()))
    await read_pieces(request.receive, head, settings.max_body_bytes, share, take=body.write, whole_bytes=WHOLE_BYTES)
    asked = body.parse()
    # One who is alone may have all that there is.
    share.grow_to(min(RAW_COPIES * sum(map(len, body.raw)), service.budget.max_bytes))
    raw = await joined(body.raw)
    images = partial(asked.images, body.json, raw, model.manifest.pixels, settings.max_items)
    return asked, await asyncio.to_thread(images) if len(raw) > SHORT_BYTES else images()


def _check_content_type(content_type: bytes) -> None:
    """Triton's client sends none, others the binary one when bytes follow the JSON."""
    text = content_type.decode("latin-1")
    if text.partition(";")[0].strip().lower() not in ("", JSON, BINARY):
        raise ScoringError(
            "unsupported-media-type", f"The header Content-Type is {text[:100]!r}: send {JSON} or {BINARY}."
        )


def _outputs(results: Sequence[Result]) -> list[Outputs]:
    """Every image's outputs. The protocol has no error for one image, so that the first one fails the request."""
    outputs: list[Outputs] = []
    for index, result in enumerate(results):
        if isinstance(result.outcome, ScoringError):
            raise ScoringError(result.outcome.kind, f"Image {index}: {result.outcome.detail}", result.outcome.headers)
        outputs.append(result.outcome)
    return outputs
