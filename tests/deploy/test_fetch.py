"""The program of k8s/fetch/Dockerfile, run as an init container runs it."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.deploy.manifests import K8S
from tests.support.live import serving_folder

CONTENT = b"a model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fetch(source: str, target: Path | str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(K8S / "fetch" / "fetch.py"), source, str(target), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """The URL of a server with the file model.onnx and the folder photos."""
    (tmp_path / "store" / "photos" / "cup").mkdir(parents=True)
    (tmp_path / "store" / "model.onnx").write_bytes(CONTENT)
    (tmp_path / "store" / "photos" / "cup" / "a.jpg").write_bytes(b"a photo")
    with serving_folder(tmp_path / "store") as url:
        yield url


def test_a_model_behind_http_is_copied_when_its_sha256_is_the_one_given(store: str, tmp_path: Path) -> None:
    ended = fetch(f"{store}/model.onnx", tmp_path / "model.onnx", "--sha256", SHA256.upper())
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "model.onnx").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("source", "sha256", "words"),
    [
        ("{store}/model.onnx", "0" * 64, "it is another file, or was changed"),
        ("{store}/none.onnx", SHA256, "cannot be copied: FileNotFoundError"),
        ("http://127.0.0.1:9/model.onnx", SHA256, "cannot be copied: ClientConnectorError: Cannot connect to host"),
        ("nothing://x", SHA256, "cannot be copied: ValueError: Protocol not known: nothing"),
        ("{store}/model.onnx", "$(MODEL_SHA256)", "is no sha256"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    store: str, tmp_path: Path, source: str, sha256: str, words: str
) -> None:
    ended = fetch(source.format(store=store), tmp_path / "model.onnx", "--sha256", sha256)
    assert ended.returncode == 1
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_is_copied_with_what_is_in_it_to_one_that_is_there_or_not(
    tmp_path: Path, store: str, end: str
) -> None:
    source = f"file://{tmp_path}/store/photos{end}"
    for target in (tmp_path / "photos", f"file://{tmp_path}/far"):
        for _ in range(2):
            assert fetch(source, target).returncode == 0
    for name in ("photos", "far"):
        assert [path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.jpg")] == [Path("cup/a.jpg")]


def test_a_source_that_is_not_there_is_said(tmp_path: Path) -> None:
    ended = fetch(f"file://{tmp_path}/none", tmp_path / "photos")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "There is nothing at file://" in ended.stderr


class Plain(BaseHTTPRequestHandler):
    """A server that knows no ranges and no HEAD; with `length` None it does not say how long a file is, either."""

    content = bytes(range(256)) * 40_000
    length: int | None = len(content)

    def do_GET(self) -> None:
        self.send_response(200)
        if self.length is not None:
            self.send_header("Content-Length", str(self.length))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""


@pytest.mark.parametrize("says_length", [True, False])
def test_a_model_is_copied_from_a_server_without_ranges(says_length: bool, tmp_path: Path) -> None:
    handler = type("Handler", (Plain,), {"length": Plain.length if says_length else None})
    digest = hashlib.sha256(Plain.content).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ended = fetch(f"http://127.0.0.1:{server.server_port}/model.onnx", tmp_path / "model.onnx", "--sha256", digest)
        server.shutdown()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "model.onnx").read_bytes() == Plain.content


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """The server promises more than it sends."""
    handler = type("Handler", (Plain,), {"length": len(Plain.content) + 1})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/model.onnx"
        ended = fetch(url, tmp_path / "model.onnx", "--sha256", "0" * 64)
        server.shutdown()
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert list(tmp_path.iterdir()) == []
