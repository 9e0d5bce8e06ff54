"""Names of servers that do not answer, and who feels it."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from service.fetch import resolve
from service.fetch.fetcher import Fetcher, FetchPolicy
from service.fetch.resolve import CALLER, MAX_LOOKUPS_PER_CALLER, Resolver, look_up
from tests.service.fetch.test_fetcher import OUTSIDE, WITHOUT_ROOTS, error_of, http, serving

pytestmark = pytest.mark.anyio


class Names:
    """A resolver of names that answers some and is silent to others until it is let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._go = threading.Event()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("silent"):
            self._go.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [OUTSIDE] if host.startswith("good") else []

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.let_go()


def of(caller: bytes, resolver: Resolver, host: str) -> asyncio.Task[Sequence[str]]:
    """A lookup for that caller."""
    CALLER.set(caller)
    return asyncio.create_task(asyncio.wait_for(resolver(host, 80), 10))


def resolving_threads() -> int:
    return sum(thread.name == "resolver" for thread in threading.enumerate())


async def test_names_are_looked_up_as_the_system_does() -> None:
    assert "127.0.0.1" in await Resolver()("localhost", 80)
    assert look_up("no-such-name.invalid") == [] or pytest.fail("an unknown name has an address")


async def test_a_silent_name_is_given_up_in_time_and_asked_for_once(names: Names) -> None:
    resolver = Resolver(names, lookup_seconds=0.2)
    began = time.perf_counter()
    tasks = [of(b"a", resolver, "silent") for _ in range(50)]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.perf_counter() - began < 2
    assert all(isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_AGAIN for answer in answers)
    assert names.asked == ["silent"]


async def test_one_callers_silent_names_hold_up_no_others_and_hold_few_threads(names: Names) -> None:
    resolver = Resolver(names, lookup_seconds=0.5)
    silent = [of(b"bad", resolver, f"silent{number}") for number in range(500)]
    await asyncio.sleep(0.05)
    for number in range(30):
        began = time.perf_counter()
        assert await of(b"good", resolver, f"good{number}") == [OUTSIDE]
        assert time.perf_counter() - began < 0.4
    assert resolving_threads() <= MAX_LOOKUPS_PER_CALLER + 1
    await asyncio.gather(*silent, return_exceptions=True)
    assert len(names.asked) == MAX_LOOKUPS_PER_CALLER + 30


async def test_when_a_silent_name_server_speaks_the_lookups_that_wait_go_on(names: Names) -> None:
    resolver = Resolver(names)
    silent = [of(b"bad", resolver, f"silent{number}") for number in range(MAX_LOOKUPS_PER_CALLER)]
    waiting = of(b"bad", resolver, "good")
    await asyncio.sleep(0.05)
    assert not waiting.done()
    names.let_go()
    assert await waiting == [OUTSIDE]
    assert all(isinstance(answer, socket.gaierror) for answer in await asyncio.gather(*silent, return_exceptions=True))


async def test_all_callers_together_have_a_bounded_number_of_threads(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "MAX_LOOKUPS", 20)
    resolver = Resolver(names, lookup_seconds=0.2)
    tasks = [of(b"%d" % number, resolver, f"silent{number}") for number in range(100)]
    await asyncio.sleep(0.05)
    assert resolving_threads() <= 20
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def fetching(names: Names) -> AsyncIterator[Fetcher]:
    policy = FetchPolicy(max_bytes=1000, timeout_seconds=5, allowlist=(OUTSIDE,))
    async with Fetcher(policy, Resolver(names, lookup_seconds=1), WITHOUT_ROOTS) as fetcher:
        yield fetcher


async def test_four_silent_host_names_do_not_stop_the_fetches_of_the_same_caller(names: Names) -> None:
    async with serving({"/": http()}) as site, fetching(names) as fetcher:
        silent = [asyncio.create_task(error_of(fetcher, f"http://silent{number}/")) for number in range(8)]
        await asyncio.sleep(0.05)
        for number in range(5):
            assert await asyncio.wait_for(fetcher.fetch(f"http://good{number}:{site.port}/"), 0.5) == b"pixels"
        assert {error.kind for error in await asyncio.gather(*silent)} == {"url-failed"}


async def test_servers_that_are_silent_to_one_caller_leave_connections_for_others(names: Names) -> None:
    async with serving({"/": http(), "/silent": b""}) as site, fetching(names) as fetcher:
        CALLER.set(b"bad")
        silent = [asyncio.create_task(error_of(fetcher, f"http://{OUTSIDE}:{site.port}/silent")) for _ in range(300)]
        await asyncio.sleep(0.2)
        CALLER.set(b"good")
        assert await asyncio.wait_for(fetcher.fetch(f"http://{OUTSIDE}:{site.port}/"), 2) == b"pixels"
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
