from collections.abc import Iterator

import pytest

from salver.artifact.bounds.decoders import Decoders


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def decoders() -> Iterator[Decoders]:
    """For every scorer that needs no limits of its own."""
    with Decoders() as decoders:
        yield decoders
