"""The command `salver score`."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from salver.client.errors import ServiceUnreachable
from salver.client.result import Score, ScoreError
from salver.client.scoring import MAX_ITEMS, ScoringClient
from salver.messages import errors_as_messages
from salver.text import printable, printable_json

FAILED, UNREACHABLE = 1, 2


def score(
    images: Annotated[list[str], typer.Argument(help="Image files, or http(s) URLs that the service fetches.")],
    *,
    url: Annotated[str, typer.Option(help="URL of the service.")] = "http://127.0.0.1:8000",
    key: Annotated[str | None, typer.Option(envvar="SALVER_KEY", help="Key of the service.")] = None,
    softmax: Annotated[bool, typer.Option("--softmax", help="Print probabilities instead of logits.")] = False,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Print the best K labels.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list with all scores.")] = False,
) -> None:
    """Score images with a running service.

    Ends with status 1 when an image could not be scored and with 2 when the service could not be reached.
    """
    results: list[Score | ScoreError] = []
    with (
        errors_as_messages(FAILED, again="", command="score", codes={ServiceUnreachable: UNREACHABLE}),
        ScoringClient(url, key) as client,
    ):
        for start in range(0, len(images), MAX_ITEMS):
            names = images[start : start + MAX_ITEMS]
            part = client.score(names, softmax, top_k)
            results += part
            if not as_json:
                typer.echo("\n".join(_lines(names, part, width=max(map(len, images)))))
    if as_json:
        items = [_item(*pair) for pair in zip(images, results, strict=True)]
        typer.echo(printable_json(json.dumps(items, ensure_ascii=False, indent=2)))
    if any(isinstance(result, ScoreError) for result in results):
        raise typer.Exit(FAILED)


def _lines(names: list[str], results: list[Score | ScoreError], width: int) -> Iterator[str]:
    for name, result in zip(names, results, strict=True):
        yield printable(f"{name:<{width}}  {_text(result)}")


def _text(result: Score | ScoreError) -> str:
    if isinstance(result, ScoreError):
        return f"error: {result.title}: {result.detail}"
    best = "abstained" if result.label is None else result.label
    others = [f"{other.label} {other.score:.4f}" for other in result.top[1:]]
    return ", ".join([f"{best} {result.score:.4f}", *others])


def _item(name: str, result: Score | ScoreError) -> dict[str, object]:
    """The image's part of the JSON list: its name, and what the service answered."""
    if isinstance(result, ScoreError):
        return {"image": name, "error": asdict(result)}
    told = asdict(result)
    for field in ("scores", "top", "abstained"):  # as the service leaves them out, and no others: 0 is a value
        if not told[field]:
            del told[field]
    return {"image": name} | told
