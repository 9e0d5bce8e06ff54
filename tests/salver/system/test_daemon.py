import asyncio
import subprocess
import sys
import time

import pytest

from salver.system.daemon import in_daemon_thread


def test_what_is_given_or_raised_is_a_value() -> None:
    def fail() -> None:
        raise OSError("no such store")

    async def both() -> tuple[object, object]:
        return await in_daemon_thread(lambda: 7), await in_daemon_thread(fail)

    given, raised = asyncio.run(both())
    assert given == 7
    assert isinstance(raised, OSError)


def test_without_a_thread_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", none_left)
    assert isinstance(asyncio.run(in_daemon_thread(lambda: 7)), RuntimeError)


def test_it_does_not_hold_up_the_end_of_the_process() -> None:
    script = """
import asyncio, time
from salver.system.daemon import in_daemon_thread

async def main():
    asyncio.create_task(in_daemon_thread(lambda: time.sleep(60)))
    await asyncio.sleep(0.1)

asyncio.run(main())
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    assert time.monotonic() - began < 20
