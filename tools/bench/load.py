"""A lean load generator for `tools.bench.service`: raw HTTP over kept-alive sockets, which costs little CPU."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

HEAD_END = b"\r\n\r\n"
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Load:
    """What one stretch of load saw."""

    requests_per_second: float
    latencies_seconds: tuple[float, ...]
    failures: int
    """Answers with another status than 200."""

    def percentile(self, percent: int) -> float:
        """Seconds."""
        return quantiles(self.latencies_seconds, n=100, method="inclusive")[percent - 1]


def request_bytes(path: str, content_type: str, body: bytes, method: str = "POST") -> bytes:
    """One whole HTTP/1.1 request."""
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + HEAD_END + body


async def run_load(
    port: int, requests: Sequence[bytes], connections: int, seconds: float = 0.0, count: int = 0
) -> Load:
    """Closed loop: each connection sends its next request once it has an answer, for `seconds` or `count` in all."""
    end = time.perf_counter() + seconds
    latencies: list[float] = []
    failures = 0
    sent = 0

    async def converse(start: int) -> None:
        nonlocal failures, sent
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MEBIBYTE)
        turn = start
        while time.perf_counter() < end or sent < count:
            sent += 1
            began = time.perf_counter()
            writer.write(requests[turn % len(requests)])
            status = await _status(reader)  # not inside the sum, whose left side is read before the wait
            failures += status != 200
            latencies.append(time.perf_counter() - began)
            turn += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(converse(number) for number in range(connections)))
    return Load(len(latencies) / (time.perf_counter() - began), tuple(latencies), failures)


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer whole; its status."""
    head = await reader.readuntil(HEAD_END)
    lines = head.split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line[:15].lower() == b"content-length:")
    await reader.readexactly(length)
    return int(lines[0].split(b" ")[1])
