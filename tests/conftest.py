"""Signals, threads and a browser for tests."""

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Before anything imports torch, and for the processes that tests start, too: the threads of small nets spend more time
# on waiting for each other than on work, several times as much while others use the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure() -> None:
    """A shell's background job ignores SIGINT, and so would the processes that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, once for a module."""
    from tests.training.dataset.annotate.annotating import chromium  # with Playwright, which few tests need

    with chromium() as browser:
        yield browser
