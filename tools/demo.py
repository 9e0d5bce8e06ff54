"""`make demo`: photos to a live score on one machine, each step as a user would do it, each result checked.

It renders the sample, fine-tunes MobileNetV2, serves the file with a key, scores the held-out images by file and by
URL, and compares what the service answers with what training computed. It ends with 0 only when all of that was right.
"""

import csv
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from salver.client.errors import DeploymentFailed
from salver.client.result import Score, ScoreError
from salver.client.scoring import ScoringClient
from salver.deployment.ready import running_service

DATA, RUN = Path("runs/sample"), Path("runs/demo")
SHOWN_IMAGES, URL_IMAGES = 8, 5
START_SECONDS = 30

console = Console(highlight=False)


@dataclass(frozen=True)
class Trained:
    """A held-out image and what training computed for it: the logits in label order."""

    path: Path
    truth: str
    logits: tuple[float, ...]


def main() -> None:
    """Run every step; the process ends with 1 and a sentence at the first that is not right."""
    start = time.monotonic()
    step("1/4  Render the sample: photos of bowls, cups, cutlery and plates")
    salver("sample", str(DATA))
    step("2/4  Fine-tune MobileNetV2, test it on held-out photos, export model.onnx through the gate")
    salver("train", str(DATA), "--base", "mobilenet_v2", "--weights", "offline", "--out", str(RUN), "--overwrite")
    step("3/4  Serve the file with a key")
    key = secrets.token_urlsafe(16)
    with served(key) as url:
        step("4/4  Score the held-out photos over HTTP and compare with training")
        score_and_compare(url, key)
    console.print(f"\n[bold green]All steps were right[/], in {time.monotonic() - start:.0f} s. What there is now:")
    print_next_steps()


def step(title: str) -> None:
    """Say what comes."""
    console.print(f"\n[bold]{title}[/]")


def fail(reason: str) -> NoReturn:
    """End with 1."""
    console.print(f"[bold red]The demo failed:[/] {reason}", soft_wrap=True)
    sys.exit(1)


def salver(*arguments: str) -> None:
    """Run a `salver` command with its own display."""
    ended = subprocess.run([sys.executable, "-P", "-m", "salver", *arguments], check=False)
    if ended.returncode != 0:
        fail(f"'salver {' '.join(arguments)}' ended with {ended.returncode}.")


@contextmanager
def served(key: str) -> Iterator[str]:
    """The model's service until the block is left; yields its URL once it is ready."""
    start = time.monotonic()
    settings = {"SALVER_API_KEYS": key, "SALVER_URL_ALLOWLIST": "127.0.0.1", "SALVER_LOG_FORMAT": "text"}
    try:
        with running_service(RUN / "model.onnx", settings, timeout_seconds=START_SECONDS) as url:
            console.print(f"ready after {time.monotonic() - start:.1f} s")
            yield url
    except DeploymentFailed as error:
        fail(f"{error} Its log is above.")


def score_and_compare(url: str, key: str) -> None:
    """Every held-out image by file, some by URL too; the live logits must be training's."""
    trained = read_scores()
    tolerance = json.loads((RUN / "metrics.json").read_text())["model"]["provenance"]["parity"]["tolerance"]
    paths = [image.path for image in trained]
    with ScoringClient(url, key) as client, file_server(DATA) as files:
        logits = scored(client.score(paths))
        shown = scored(client.score(paths[:: len(paths) // SHOWN_IMAGES], softmax=True))
        urls = [f"{files}/{path.relative_to(DATA).as_posix()}" for path in paths[:URL_IMAGES]]
        by_url = scored(client.score(urls))
    print_answers(trained[:: len(paths) // SHOWN_IMAGES], shown)
    if by_url != logits[:URL_IMAGES]:
        fail("the same images got other scores by URL than by file.")
    largest = max(
        abs(live - ours)
        for image, score in zip(trained, logits, strict=True)
        for live, ours in zip(score.scores, image.logits, strict=True)
    )
    console.print(
        f"{len(paths)} photos by file and {len(urls)} by URL: largest logit difference live vs training {largest:.1e}, "
        f"tolerance {tolerance:.1e}",
        soft_wrap=True,
    )
    if largest > tolerance:
        fail("the live scores differ from training's by more than the tolerance.")


def read_scores() -> list[Trained]:
    """The held-out images of the run."""
    with (RUN / "scores.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return [Trained(Path(path), truth, tuple(map(float, logits))) for path, truth, _, *logits in rows]


def scored(results: Sequence[Score | ScoreError]) -> list[Score]:
    """The results, of which none may be an error."""
    for result in results:
        if isinstance(result, ScoreError):
            fail(f"an image was not scored: {result.detail}")
    return [result for result in results if isinstance(result, Score)]


def print_answers(trained: Sequence[Trained], answers: Sequence[Score]) -> None:
    """Truth beside the live label and its probability."""
    table = Table("photo", "truth", "live label", "softmax", "")
    for image, answer in zip(trained, answers, strict=True):
        right = "" if answer.label == image.truth else "wrong"
        table.add_row(image.path.name, image.truth, answer.label, f"{answer.score:.3f}", right)
    console.print(table)


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """An HTTP server of the files in a folder, on loopback; yields its URL."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def print_next_steps() -> None:
    """Where everything lies, and commands to go on with."""
    photo = next((DATA / "cup").glob("*.jpg"))
    for line in (
        f"  {DATA}/            the sample, one folder a label",
        f"  {RUN}/model.onnx   the model: all that the service needs",
        f"  {RUN}/             report.html, metrics.json, scores.csv, history.json, run.json, checkpoint/",
        "Go on with:",
        "  make serve",
        "  curl -s http://127.0.0.1:8000/score -H 'Content-Type: application/json' -d \\",
        f'    "{{\\"image_in_base64\\": \\"$(base64 -w0 {photo})\\", \\"parameters\\": {{\\"add_softmax\\": true}}}}"',
        f"  .venv/bin/salver score {photo} --softmax",
    ):
        console.print(line, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
