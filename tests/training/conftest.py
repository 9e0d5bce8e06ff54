"""What several modules share, because it takes seconds to make."""

from pathlib import Path

import pytest

from tests.training.runs import small_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run beside its photos; to be looked at, and copied by who writes into it."""
    return small_run(tmp_path_factory.mktemp("finished"))
