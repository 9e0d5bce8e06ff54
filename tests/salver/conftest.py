"""A small HTTP server that answers `POST /score` in the documented form, and a stand-in for Docker."""

import base64
import json
import shlex
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypedDict

import pytest

KEY = "clé-1"
LABELS = ("bowl", "cup")


class Parameters(TypedDict, total=False):
    add_softmax: bool
    top_k: int
    familiarity: bool
    reject_foreign: bool
    features: bool
    heat_map: bool | str


class Item(TypedDict, total=False):
    image_in_base64: str
    image_url: str
    parameters: Parameters


@dataclass
class Service:
    """Scores an image by its number of bytes; bytes that begin with `broken` cannot be decoded."""

    url: str
    requests: list[list[Item]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)
    reply: tuple[int, bytes] | None = None
    """An answer to give whatever is asked."""
    version: str = ""
    """Of the model, in `GET /model`."""
    head: dict[str, str] = field(default_factory=dict)
    """What stands in the head of every answer besides."""

    @property
    def images(self) -> list[bytes]:
        """The bytes of every local image that was received."""
        return [base64.b64decode(item["image_in_base64"]) for items in self.requests for item in items]

    def answer(self, items: list[Item]) -> tuple[int, object]:
        self.requests.append(items)
        results = [score(item) for item in items]
        if all("error" in result for result in results):
            errors = [BROKEN | {"index": index} for index in range(len(items))]
            return 422, BROKEN | {"status": 422, "errors": errors}
        return 200, results


def problem(name: str, title: str) -> dict[str, object]:
    return {"type": f"urn:salver:{name}", "title": title, "detail": "Do something about it."}


BROKEN = problem("undecodable-image", "The image cannot be decoded")


def score(item: Item) -> dict[str, object]:
    image = base64.b64decode(item["image_in_base64"]) if "image_in_base64" in item else item["image_url"].encode()
    if image.startswith(b"broken"):
        return {"error": BROKEN}
    scores = [1.0, float(len(image))]
    if item["parameters"].get("add_softmax"):
        scores = [value / sum(scores) for value in scores]
    result: dict[str, object] = {"label": "cup", "label_index": 1, "score": scores[1]}
    if item["parameters"].get("add_softmax") and scores[1] < 0.8:
        result |= {"label": None, "abstained": True}
    if "top_k" not in item["parameters"]:
        return result | {"scores": scores}
    top = [{"label": label, "score": value} for label, value in zip(LABELS, scores, strict=True)]
    return result | {"top": top[::-1][: item["parameters"]["top_k"]]}


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/readyz":
                self.send(200, b"{}")
            elif self.headers["Authorization"] != f"Bearer {KEY}".encode().decode("latin-1"):
                self.send(401, json.dumps(problem("unauthorised", "A valid key is needed")).encode())
            else:
                self.send(200, json.dumps({"name": "salver", "version": served.version}).encode())

        def do_POST(self) -> None:
            served.connections.add(self.client_address)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if served.reply is not None:
                self.send(*served.reply)
            elif self.path != "/score" or self.headers["Content-Type"] != "application/json":
                self.send(404, b"nothing here")
            elif self.headers["Authorization"] != f"Bearer {KEY}".encode().decode("latin-1"):
                self.send(401, json.dumps(problem("unauthorised", "A valid key is needed")).encode())
            else:
                status, answer = served.answer(json.loads(body))
                self.send(status, json.dumps(answer).encode())

        def send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **served.head}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Service(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a stand-in for Docker keeps its containers."""
    folder, programs = tmp_path / "engine", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir(exist_ok=True)
    command = shlex.join([sys.executable, str(Path(__file__).with_name("deployment") / "docker.py")])
    (programs / "docker").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("STAND_IN_FOLDER", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder
