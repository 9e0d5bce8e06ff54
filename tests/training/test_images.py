from pathlib import Path

import numpy as np
import pytest
import torch

from artifact.manifest import PixelSpec
from artifact.pixels import decode, to_pixels
from tests.training.photos import photo_folder
from training.errors import DatasetError, SettingError
from training.images import PixelImages, ShuffledMinibatches, minibatch_sizes, ordered_loader, shuffled_loader

pytestmark = pytest.mark.torch

SPEC = PixelSpec(height=64, width=72, resize="pad")


@pytest.mark.parametrize("memory_budget_bytes", [2**30, 0])
def test_minibatches_hold_the_pixels_of_the_artifact_room_in_memory_or_not(
    tmp_path: Path, memory_budget_bytes: int
) -> None:
    dataset = photo_folder(tmp_path, {"cup": 3, "bowl": 2})
    images = PixelImages(dataset, dataset.labels, SPEC, memory_budget_bytes=memory_budget_bytes)
    minibatches = list(ordered_loader(images, batch_size=2))
    assert [len(targets) for _, targets in minibatches] == [2, 2, 1]
    pixels = torch.cat([minibatch.pixels for minibatch in minibatches]).numpy()
    expected = [to_pixels(decode(image.path.read_bytes(), SPEC), SPEC) for image in dataset.images]
    assert np.array_equal(pixels, np.stack(expected))
    targets = torch.cat([minibatch.targets for minibatch in minibatches]).tolist()
    assert [dataset.labels[target] for target in targets] == [image.label for image in dataset.images]


def test_every_unreadable_image_is_listed_with_its_reason(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 3, "bowl": 3})
    (tmp_path / "cup" / "001.jpg").write_bytes(dataset.images[0].path.read_bytes()[:300])
    (tmp_path / "bowl" / "002.jpg").write_text("not an image")
    (tmp_path / "bowl" / "000.jpg").unlink()
    with pytest.raises(DatasetError, match=r"3 of 6 images cannot be read") as refusal:
        PixelImages(dataset, dataset.labels, SPEC)
    lines = str(refusal.value).splitlines()[1:]
    assert [next(name for name in ("cup/001", "bowl/002", "bowl/000") if name in line) for line in lines] == [
        "bowl/000",
        "bowl/002",
        "cup/001",
    ]


def test_an_image_of_a_label_that_the_classifier_lacks_is_named(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 1, "bowl": 1})
    with pytest.raises(DatasetError, match=r"bowl.*is not one of the classifier's: cup, plate"):
        PixelImages(dataset, ("cup", "plate"), SPEC)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"), [(65, 64, [65]), (3, 64, [3]), (1, 64, [1]), (9, 4, [4, 5]), (8, 4, [4, 4])]
)
def test_a_remainder_of_one_joins_the_minibatch_before_it(count: int, batch_size: int, sizes: list[int]) -> None:
    """DS10."""
    assert minibatch_sizes(count, batch_size) == sizes


def test_an_epoch_has_every_image_once_and_the_next_one_another_order() -> None:
    order = ShuffledMinibatches(65, 16, torch.Generator().manual_seed(0))
    first, second = ([index for minibatch in order for index in minibatch] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(65))
    assert first != second
    assert len(order) == 4


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 6, "bowl": 6})
    images = PixelImages(dataset, dataset.labels, SPEC)
    orders = [
        torch.cat([pixels for pixels, _ in shuffled_loader(images, 4, torch.Generator().manual_seed(seed))])
        for seed in (1, 1, 2)
    ]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_a_minibatch_of_one_is_refused() -> None:
    with pytest.raises(SettingError, match="at least 2 images"):
        ShuffledMinibatches(10, 1, torch.Generator())
