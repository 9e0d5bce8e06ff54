"""The marker `server`, put on every test of a module that starts the real service; signals and threads for tests."""

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

STARTERS = ("running_service", "service_process")


def pytest_configure() -> None:
    """A shell's background job ignores SIGINT, and so would the processes that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and any(hasattr(item.module, name) for name in STARTERS):
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, once for a module."""
    from tests.training.dataset.annotate.annotating import chromium  # with Playwright, which few tests need

    with chromium() as browser:
        yield browser
