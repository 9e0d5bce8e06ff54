"""The service with a tick each millisecond on its event loop: python -m tests.service.scoring.ticking MODEL PORT FILE.

FILE has eight bytes: the longest time that a tick came late, in seconds, since somebody asked for a
new begin. Time for which the machine ran other processes does not count.
"""

import asyncio
import mmap
import os
import struct
import sys
import threading
import time
from pathlib import Path

from salver.system.allocator import return_memory
from service.__main__ import run
from service.service import Service
from service.settings import PREFIX

TICK_SECONDS = 0.001
LONGEST = struct.Struct("d")
BEGIN = -1.0


class Delays:
    """How long the threads of this process were ready to run and the machine ran others, in nanoseconds."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def seconds(self) -> float:
        """Since the last call: of this thread, and of the one that waited longest: it may have the interpreter."""
        now = {task.name: _delay(task) for task in Path("/proc/self/task").iterdir()}
        waited = {task: delay - self._before.get(task, delay) for task, delay in now.items()}
        self._before = now
        return (waited.pop(str(threading.get_native_id())) + max(waited.values(), default=0)) / 1e9


def _delay(task: Path) -> int:
    try:
        return int((task / "schedstat").read_bytes().split()[1])
    except OSError:  # it has ended
        return 0


async def _tick(longest: mmap.mmap) -> None:
    delays = Delays()
    delays.seconds()
    while True:
        began = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        late = time.perf_counter() - began - TICK_SECONDS
        late -= delays.seconds()
        before = LONGEST.unpack_from(longest)[0]
        if before == BEGIN:
            return_memory()
            LONGEST.pack_into(longest, 0, 0.0)
        elif late > before:
            LONGEST.pack_into(longest, 0, late)


def main(model: str, port: str, file: str) -> int:
    """Serve until SIGTERM."""
    longest = mmap.mmap(os.open(file, os.O_RDWR), LONGEST.size)
    start = Service.start

    def start_with_ticks(self: Service) -> None:
        start(self)
        self.ticking = asyncio.create_task(_tick(longest))  # type: ignore[attr-defined]  # so that it is kept

    Service.start = start_with_ticks  # type: ignore[method-assign]
    os.environ[f"{PREFIX}MODEL"] = model
    return run("127.0.0.1", int(port))


class Ticks:
    """The file, from the outside."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(LONGEST.size))
        self._file = mmap.mmap(os.open(file, os.O_RDWR), LONGEST.size)

    def begin(self) -> None:
        """Forget what was late; the service gives back the memory that it does not use."""
        LONGEST.pack_into(self._file, 0, BEGIN)
        while self.longest_seconds() == BEGIN:
            time.sleep(TICK_SECONDS)

    def longest_seconds(self) -> float:
        """The longest gap since then."""
        seconds: float = LONGEST.unpack_from(self._file)[0]
        return seconds


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
