"""An HTTP client for tests that sends its bytes as it likes."""

import socket

import httpx


class Caller:
    """One connection to the service behind an httpx client."""

    def __init__(self, client: httpx.Client) -> None:
        self.socket = socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=20)

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes, headers: str = "", protocol: str = "HTTP/1.1", key: str = "key") -> None:
        """A request's head, and the bytes after it."""
        head = f"POST /score {protocol}\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        self.socket.sendall(f"{head}Content-Type: application/json\r\n{headers}\r\n".encode() + data)

    def status(self) -> int:
        """The status of the answer, whose head and body are read."""
        self.answer = b""
        while b"\r\n\r\n" not in self.answer:
            self._receive()
        length = int(self.header("content-length") or 0)
        while len(self.answer.partition(b"\r\n\r\n")[2]) < length:
            self._receive()
        return int(self.answer.split(b" ", 2)[1])

    def header(self, name: str) -> str | None:
        """A header of the answer."""
        lines = self.answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return next((line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name}: ")), None)

    def is_closed(self) -> bool:
        """Whether the service ends the connection, and says nothing more."""
        return self.socket.recv(1) == b""

    def _receive(self) -> None:
        piece = self.socket.recv(65536)
        assert piece, "the connection was closed before the whole answer"
        self.answer += piece
