"""A stand-in for the service with a known service time, in a thread of this process."""

import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PROBLEM = {"title": "Made up", "detail": "For a test."}
ITEM = {"label": "b", "label_index": 1, "score": 0.75, "scores": [0.25, 0.75]}
BROKEN_ITEM = {"error": {"type": "urn:salver:inference-failed", **PROBLEM}}


@dataclass
class Stub:
    """How it behaves, and what it saw."""

    seconds: float = 0.0
    """Service time of a request."""
    workers: int | None = None
    """How many are served at once; None is any number."""
    failed_share: float = 0.0
    """Every so-many-th request is answered 500."""
    item_errors: bool = False
    """Answer 200 with an error for every image."""
    refuse: tuple[int, str] | None = None
    """Refuse every request with this status and type."""
    stall: tuple[float, float] | None = None
    """Answer nothing in the first seconds of each period: (stall, period)."""
    url: str = ""
    seen: Counter[int] = field(default_factory=Counter)
    """Answers by status."""
    bodies: set[int] = field(default_factory=set)
    """Lengths of the bodies."""
    asked: threading.Event = field(default_factory=threading.Event)
    """Set by the first answer."""

    async def answer(self, body: bytes) -> tuple[int, object]:
        """Wait, and say what a service would."""
        async with self._free:
            await asyncio.sleep(self.seconds)
        if self.stall is not None:
            into = (time.monotonic() - self._began) % self.stall[1]
            await asyncio.sleep(max(self.stall[0] - into, 0))
        self._count += 1
        if self.refuse is not None:
            status, kind = self.refuse
            return status, PROBLEM | {"type": kind, "status": status}
        if int(self._count * self.failed_share) > int((self._count - 1) * self.failed_share):
            return 500, PROBLEM | {"type": "urn:salver:internal", "status": 500}
        images = max(1, len(re.findall(rb"image_in_base64|image_url", body))) if len(body) < 1_000_000 else 1
        return 200, [BROKEN_ITEM if self.item_errors else ITEM] * images

    async def serve(self, ready: threading.Event) -> None:
        """Until the task is cancelled."""
        self._count, self._began = 0, time.monotonic()
        self._free = asyncio.Semaphore(self.workers or 100_000)
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1000, limit=2**22)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stopped()
        server.close()

    async def _stopped(self) -> None:
        self.stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        await self.stop.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                await self._reply(writer, head.split(" ", 2)[1], body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, path: str, body: bytes) -> None:
        status, answer = (404, {}) if not path.startswith("/score") else await self.answer(body)
        if path.startswith("/score"):
            self.seen[status] += 1
            self.bodies.add(len(body))
            self.asked.set()
        text = json.dumps(answer).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(text)) + text)
        await writer.drain()


@contextmanager
def running(stub: Stub) -> Iterator[Stub]:
    """Serve on a free loopback port until the block is left."""
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(stub.serve(ready)))
    thread.start()
    ready.wait()
    try:
        yield stub
    finally:
        stub.loop.call_soon_threadsafe(stub.stop.set)
        thread.join()
