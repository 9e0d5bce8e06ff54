"""What several modules share, because it takes seconds to make."""

import shutil
from pathlib import Path

import pytest

from tests.training.support.runs import small_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run beside its photos; to be looked at, and copied by who writes into it."""
    return small_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def run_folder(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it for one module, to write beside."""
    return Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("copy") / "run"))
