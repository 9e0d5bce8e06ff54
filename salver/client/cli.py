"""The command `salver score`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from salver.client.errors import KeyRefused, ServiceUnreachable
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
    familiarity: Annotated[
        bool, typer.Option("--familiarity", help="Print how much each image is like the training photos, from -1 to 1.")
    ] = False,
    reject_foreign: Annotated[
        bool, typer.Option("--reject-foreign", help="Print no label for images that are unlike the training photos.")
    ] = False,
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
            with _key_in_our_words(key):
                part = client.score(names, softmax, top_k, familiarity=familiarity, reject_foreign=reject_foreign)
            results += part
            if not as_json:
                typer.echo("\n".join(_lines(names, part, width=max(map(len, images)))))
    if as_json:
        items = [_item(*pair) for pair in zip(images, results, strict=True)]
        typer.echo(printable_json(json.dumps(items, ensure_ascii=False, indent=2)))
    if any(isinstance(result, ScoreError) for result in results):
        raise typer.Exit(FAILED)


@contextmanager
def _key_in_our_words(key: str | None) -> Iterator[None]:
    """Tell of a key in the words of the command line instead of HTTP's."""
    try:
        yield
    except KeyRefused as error:
        fault = "does not take the key that was sent" if (key or "").strip() else "needs a key, and none was sent"
        said = f"The service {fault}: give one with --key or in SALVER_KEY."
        raise KeyRefused(said, error.status, error.type) from None


def _lines(names: list[str], results: list[Score | ScoreError], width: int) -> Iterator[str]:
    for name, result in zip(names, results, strict=True):
        yield printable(f"{name:<{width}}  {_text(result)}")


def _text(result: Score | ScoreError) -> str:
    if isinstance(result, ScoreError):
        return f"error: {result.title}: {result.detail}"
    best = "abstained" if result.label is None else result.label
    others = [f"{other.label} {other.score:.4f}" for other in result.top[1:]]
    words = [f"{best} {result.score:.4f}", *others]
    if result.familiarity is not None:
        words.append(f"familiarity {result.familiarity:.4f}")
    return ", ".join([*words, "unlike the training photos"] if result.foreign else words)


def _item(name: str, result: Score | ScoreError) -> dict[str, object]:
    """The image's part of the JSON list: its name, and what the service answered."""
    if isinstance(result, ScoreError):
        return {"image": name, "error": asdict(result)}
    told = asdict(result)
    for field in ("scores", "top", "abstained", "features"):  # as the service leaves them out
        if not told[field]:
            del told[field]
    for field in ("reason", "familiarity", "foreign", "heat_map"):  # of these 0 and false are values
        if told[field] is None:
            del told[field]
    return {"image": name} | told
