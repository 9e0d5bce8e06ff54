"""What both modules on parity share, because it takes ten seconds to make."""

from pathlib import Path

import pytest

from training.dataset.gather.sample.render import write_sample
from training.fit.recipe.recipe import GENTLE, Changes
from training.progress import Silent
from training.run.folder import RunResult
from training.run.run import train_run
from training.run.settings import RunSettings


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A net fine-tuned for a moment and exported, so that the logits are a real model's."""
    folder: Path = tmp_path_factory.mktemp("trained")
    write_sample(folder / "sample", count=8)
    wanted = RunSettings(
        data=folder / "sample",
        out=folder / "run",
        base="mobilenet_v2",
        weights="offline",
        image_size=(128, 128),
        resize="crop",
        recipe=Changes(epochs=1, batch_size=8).applied(GENTLE),
        val_size=0.25,
    )
    result = train_run(wanted, Silent())
    assert result is not None
    return result
