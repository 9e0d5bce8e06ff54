"""Locust in a process of its own; imported here, it would change the sockets and threads of every test."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.processes import LOCUSTFILE
from loadtest.results.result import Result
from tests.loadtest.stub import Stub, running

SMALL = ("--sizes", "thumbnail=1", "--mix", "base64=1", "--warm-up", "1")


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    code: int
    text: str
    result: Result
    stub: Stub


def command(url: str, *options: str, locustfile: Path = LOCUSTFILE) -> list[str]:
    """A headless run."""
    line = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary", "--host", url]
    return [*line, "--loglevel", "WARNING", *options]


def environment() -> dict[str, str]:
    """Without what the developer may have set."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LOADTEST_", "LOCUST_"))}


def load(stub: Stub, folder: Path, options: Sequence[str], locustfile: Path = LOCUSTFILE) -> Ran:
    """Load the stub with small photos and one kind of request, unless the options say otherwise.

    Its address is given as people copy it, with a slash behind it.
    """
    path = folder / "result.json"
    with running(stub):
        line = command(f"{stub.url}/", *SMALL, "--result", str(path), *options, locustfile=locustfile)
        ended = subprocess.run(line, capture_output=True, text=True, env=environment(), stdin=subprocess.DEVNULL)
    assert path.exists(), ended.stdout + ended.stderr
    return Ran(ended.returncode, ended.stdout + ended.stderr, Result.model_validate_json(path.read_text()), stub)
