"""A folder of small labelled photos, made for tests."""

from pathlib import Path

from tests.support.images import photo
from training.dataset.dataset import Dataset


def photo_folder(root: Path, counts: dict[str, int], width: int = 96, height: int = 80) -> Dataset:
    """ROOT/LABEL/NUMBER.jpg, every photo different, as a data set."""
    seed = 0
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            (root / label / f"{number:03d}.jpg").write_bytes(photo(width, height, seed))
            seed += 1
    return Dataset.from_dir(root)
