"""A real HTTP proxy on loopback: it forwards, makes tunnels, and alone knows where some hosts are."""

import base64
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ROUNDABOUT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables, in capitals, that a test of proxies begins without."""


@dataclass
class Seen:
    """What reached the proxy: a line and a head for each request, and nothing of what went through a tunnel."""

    url: str
    lines: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)


@contextmanager
def http_proxy(hosts: Mapping[str, int], login: str = "", tls: ssl.SSLContext | None = None) -> Iterator[Seen]:
    """`hosts` are names that nobody else knows, with their ports on loopback; `login` is USER:PASSWORD, if any."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def let_in(self) -> bool:
            seen.lines.append(f"{self.command} {self.path}")
            seen.heads.append(str(self.headers))
            wanted = f"Basic {base64.b64encode(login.encode()).decode()}"
            if login and self.headers["Proxy-Authorization"] != wanted:
                self.answer(407, b"who are you?")
                return False
            return True

        def answer(self, status: int, body: bytes, head: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(head or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if not self.let_in():
                return
            parts = urlsplit(self.path)
            port = hosts.get(parts.hostname or "")
            if port is None:
                self.answer(502, b"no such host")
                return
            onward = HTTPConnection("127.0.0.1", port, timeout=30)
            target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            kept = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
            onward.request(self.command, target, body or None, kept)
            answer = onward.getresponse()
            passed_on = {name: answer.headers[name] for name in ("Content-Type", "Location") if answer.headers[name]}
            self.answer(answer.status, answer.read(), passed_on)
            onward.close()

        def do_GET(self) -> None:
            self.forward()

        def do_POST(self) -> None:
            self.forward()

        def do_CONNECT(self) -> None:
            if not self.let_in():
                return
            port = hosts.get(self.path.partition(":")[0])
            if port is None:
                self.answer(502, b"no such host")
                return
            with socket.create_connection(("127.0.0.1", port)) as onward:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=pump, args=(onward, self.connection))
                back.start()
                pump(self.connection, onward)
                back.join()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A caller that does not believe its certificate, or leaves in the middle."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        seen = Seen(f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Everything that comes, until one of them ends."""
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
