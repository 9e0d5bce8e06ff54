"""The marker `server`, put on every test of a module that starts the real service."""

import pytest

STARTERS = ("running_service", "service_process")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and any(hasattr(item.module, name) for name in STARTERS):
            item.add_marker(pytest.mark.server)
