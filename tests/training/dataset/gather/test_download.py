"""`salver build` against web sites that want its memory or its time; the process has little of both."""

import gzip
import json
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.images import photo
from training.dataset.gather.build import build
from training.dataset.gather.download import DownloadLimits
from training.dataset.gather.providers import Openverse
from training.dataset.gather.spec import QuerySource, UrlSource
from training.progress import Silent

ROOT = Path(__file__).parents[4]
PHOTO = photo(96, 80, 0)
BOMB_BYTES = 320 * 1024**2
ROOM_BYTES = 192 * 1024**2
"""What the process may map beyond what it has when the first photo is in."""

SCRIPT = """
import json, pathlib, resource, sys
from training.dataset.gather.build import build
from training.dataset.gather.download import DownloadLimits
from training.progress import Silent
from training.dataset.gather.spec import UrlSource

address, out, room, paths = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
limits = DownloadLimits(connections=2, retries=0, timeout_seconds=20)
build([UrlSource("cup", address + "/first")], out / "first", None, per_query=5, limits=limits, progress=Silent())
mapped = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + room, mapped + room))
more = [UrlSource("cup", address + path) for path in paths]
report = build(more, out / "rest", None, per_query=5, limits=limits, progress=Silent())
reasons = {failure.source.removeprefix(address): failure.reason for failure in report.failures}
print(json.dumps({"reasons": reasons, "taken": report.added + report.copies}))
"""


def packed(times: int) -> bytes:
    """Half a gibibyte of nothing."""
    packer = zlib.compressobj(9, wbits=31)
    data = b"".join([*(packer.compress(bytes(2**20)) for _ in range(BOMB_BYTES // 2**20)), packer.flush()])
    for _ in range(times - 1):
        data = gzip.compress(data, 9)
    return data


@contextmanager
def host(answers: dict[str, tuple[int, dict[str, str], bytes]], drip_seconds: float = 0.0) -> Iterator[str]:
    """Answers a path with status, head and body, as they are; with `drip_seconds` a byte at a time."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, head, body = answers[self.path.partition("?")[0]]
            self.send_response_only(status)
            for name, value in {"Connection": "close", "Content-Length": str(len(body)), **head}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            try:
                if not drip_seconds:
                    self.wfile.write(body)
                for place in range(len(body) if drip_seconds else 0):
                    self.wfile.write(body[place : place + 1])
                    time.sleep(drip_seconds)
            except OSError:
                return  # nobody reads any more

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_what_a_host_sends_costs_no_more_memory_than_an_image_may(tmp_path: Path) -> None:
    once, thrice = packed(1), packed(3)
    assert len(thrice) < 500
    gz = {"Content-Encoding": "gzip"}
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {
        "/first": (200, {}, PHOTO),
        "/nested": (200, {"Content-Encoding": "gzip, gzip, gzip"}, thrice),
        "/hidden": (200, {"Content-Encoding": "gzip,gzip,gzip,gzip,gzip,identity,gzip,gzip"}, thrice),
        "/once": (200, gz, once),
        "/deflate": (200, {"Content-Encoding": "deflate"}, once),
        "/other": (200, {"Content-Encoding": "br"}, thrice),
        "/page": (404, gz, once),
        "/loop": (302, {"Location": "/loop"}, b""),
        "/away": (302, {"Location": "file:///etc/passwd"}, b""),
        "/claims": (200, {"Content-Length": "99999999999"}, b"x"),
        "/claims-much": (200, {"Content-Length": "9" * 40}, b"x"),
        "/short": (200, {"Content-Length": "1000000"}, b"x" * 100),
        "/endless": (200, {"Content-Length": ""}, bytes(60 * 1024**2)),
        "/cut": (200, gz, gzip.compress(PHOTO)[:-20]),
        "/damaged": (200, gz, b"\x1f\x8b" + PHOTO),
        "/file": (200, {}, gzip.compress(PHOTO)),
        "/led": (302, {"Location": "/led-on", "Content-Encoding": "gzip"}, once),
        "/led-on": (307, {"Location": "/gzip", "Content-Encoding": "gzip, gzip, gzip"}, thrice),
        "/gzip": (200, gz, gzip.compress(photo(96, 80, 1))),
        "/zlib": (200, {"Content-Encoding": "deflate"}, zlib.compress(photo(96, 80, 2))),
        "/plain": (200, {"Content-Encoding": "identity"}, photo(96, 80, 3)),
        "/stored": (200, {"Content-Encoding": "aws-chunked"}, photo(96, 80, 4)),
        "/text": (200, {"Content-Encoding": "UTF-8"}, photo(96, 80, 5)),
        "/none": (200, {"Content-Encoding": ""}, photo(96, 80, 6)),
        "/packed-too": (200, {"Content-Encoding": "aws-chunked,gzip"}, gzip.compress(photo(96, 80, 7))),
    }
    paths = [path for path in answers if path not in ("/first", "/led-on")]
    with host(answers) as address:
        command = [sys.executable, "-c", SCRIPT, address, str(tmp_path), str(ROOM_BYTES), *paths]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    expected = {
        "/nested": "came packed as 'gzip, gzip, gzip'; one gzip or deflate is read",
        "/hidden": "came packed as",
        "/once": "has more than 20,971,520 bytes",
        "/deflate": "has more than 20,971,520 bytes",
        "/other": "came packed as 'br'",
        "/page": "was answered with 404",
        "/loop": "leads on to other addresses more than 5 times",
        "/away": "is not a URL that can be fetched",
        "/claims": "has more than 20,971,520 bytes",
        "/claims-much": "cannot be fetched",
        "/short": "cannot be fetched",
        "/endless": "has more than 20,971,520 bytes",
        "/cut": "is cut off",
        "/damaged": "is damaged",
        "/file": "The bytes are not a supported image: they are a gzip archive",
    }
    assert {path: reason for path, reason in said["reasons"].items() if not reason.startswith(expected[path])} == {}
    assert said["reasons"].keys() == expected.keys()
    assert said["taken"] == 8


def test_a_host_that_sends_a_byte_now_and_then_has_the_time_of_one_image(tmp_path: Path) -> None:
    answers = {
        "/drip": (200, {}, PHOTO),
        "/page": (404, {}, b"x" * 1000),
        "/on": (302, {"Location": "/drip"}, b"x" * 99),
    }
    with host(answers, drip_seconds=0.05) as address:
        sources = [UrlSource("cup", address + path) for path in answers]
        began = time.monotonic()
        report = build(
            sources,
            tmp_path,
            None,
            per_query=5,
            limits=DownloadLimits(retries=0, timeout_seconds=0.5),
            progress=Silent(),
        )
    assert time.monotonic() - began < 5
    reasons = {failure.reason for failure in report.failures}
    assert reasons == {"took longer than 0.5 s", "was answered with 404 Not Found"}


@pytest.mark.parametrize("packing", ["gzip", "gzip, gzip, gzip"])
def test_a_search_providers_page_is_bounded_too(tmp_path: Path, packing: str) -> None:
    body = packed(1) if packing == "gzip" else packed(3)
    with host({"/search": (200, {"Content-Encoding": packing}, body)}) as address:
        sources = [QuerySource("cup", "cup")]
        limits = DownloadLimits(retries=0)
        report = build(sources, tmp_path, Openverse(address + "/search"), per_query=5, limits=limits, progress=Silent())
    (failure,) = report.failures
    assert failure.reason.startswith("openverse gives an answer that ")
