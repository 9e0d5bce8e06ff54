"""The marker `server`, put on every test of a module that starts the real service; and signals as tests need them."""

import signal

import pytest

STARTERS = ("running_service", "service_process")


def pytest_configure() -> None:
    """A shell's background job ignores SIGINT, and so would the processes that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and any(hasattr(item.module, name) for name in STARTERS):
            item.add_marker(pytest.mark.server)
