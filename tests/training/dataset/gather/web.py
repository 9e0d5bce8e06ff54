"""A web site on loopback with the faults of real ones, and with search providers that answer as theirs document it."""

import json
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Answer:
    """What a path gives: `busy` times 503 first, then the body; a `slow` one only when the site closes."""

    body: bytes = b""
    status: int = 200
    busy: int = 0
    slow: bool = False
    kind: str = "image/jpeg"
    place: str = ""
    """Where a redirect leads."""


@dataclass
class Site:
    """`pages` by path; `asked` counts requests, `together` is the most that were open at once."""

    address: str
    pages: dict[str, Answer]
    asked: Counter[str] = field(default_factory=Counter)
    agents: set[str] = field(default_factory=set)
    queries: list[dict[str, str]] = field(default_factory=list)
    together: int = 0

    def url(self, path: str) -> str:
        return self.address + path


def openverse_page(urls: list[str], page: int, pages: int) -> Answer:
    """As api.openverse.org documents a page of image results."""
    results = [
        {
            "id": f"00000000-0000-0000-0000-{number:012d}",
            "title": f"A cup, no. {number}\non a table",
            "foreign_landing_url": f"https://example.org/photos/{number}",
            "url": url,
            "creator": "Ann Author",
            "creator_url": "https://example.org/ann",
            "license": "by-sa",
            "license_version": "4.0",
            "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
            "provider": "flickr",
            "source": "flickr",
            "filesize": None,
            "mature": False,
        }
        for number, url in enumerate(urls)
    ]
    content = {"result_count": 240, "page_count": pages, "page_size": 20, "page": page, "results": results}
    return Answer(json.dumps(content).encode(), kind="application/json")


@contextmanager
def web_site(pages: dict[str, Answer], tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Served until the block is left. A path may carry its query (`/search?page=2`) or not."""
    closing, lock = threading.Event(), threading.Lock()
    open_now = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal open_now
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            with lock:
                open_now += 1
                site.together = max(site.together, open_now)
                site.asked[path] += 1
                site.agents.add(self.headers["User-Agent"])
                if query:
                    site.queries.append({name: values[0] for name, values in query.items()})
            answer = pages.get(f"{path}?page={query['page'][0]}") if "page" in query else None
            self.give(answer or pages.get(path, Answer(status=404)))

        def give(self, answer: Answer) -> None:
            nonlocal open_now
            if answer.slow:
                closing.wait()
            with lock:
                busy, answer.busy = answer.busy > 0, max(0, answer.busy - 1)
            body = b"" if busy else answer.body
            self.send_response(503 if busy else answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(body)))
            if answer.place:
                self.send_header("Location", answer.place)
            if busy:
                self.send_header("Retry-After", "0")
            self.end_headers()
            with lock:
                open_now -= 1  # before the client has the last byte, and may ask again
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that gave up is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        site = Site(f"http://127.0.0.1:{server.server_port}", pages)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield site
        finally:
            closing.set()
            server.shutdown()
            thread.join()
