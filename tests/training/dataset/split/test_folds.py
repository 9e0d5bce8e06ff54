from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import SettingError


def names_by_fold(dataset: Dataset, seed: int, groups: dict[str, str] | None = None) -> dict[str, int]:
    folds = dataset.folds(5, seed=seed, groups=groups).tolist()
    return {image.name: fold for image, fold in zip(dataset.images, folds, strict=True)}


def test_folds_are_of_one_size_and_have_every_label_alike(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"a": 20, "b": 11, "c": 7})
    folds = dataset.folds(5, seed=3)
    assert sorted(Counter(folds.tolist()).values()) == [7, 7, 8, 8, 8]
    of_label = np.array([image.label for image in dataset.images])
    for label, count in dataset.counts().items():
        assert set(np.bincount(folds[of_label == label], minlength=5)) <= {count // 5, -(-count // 5)}
    assert (folds == dataset.folds(5, seed=3)).all()
    assert (folds != dataset.folds(5, seed=4)).any()


@pytest.mark.parametrize("seed", range(20))
def test_a_group_lies_in_one_fold_and_every_label_is_left_to_learn_from(tmp_path: Path, seed: int) -> None:
    """Six labels, each of three groups of 1, 2 and 9 frames (N3-24)."""
    dataset = photo_folder(tmp_path, {f"label{number}": 12 for number in range(6)})
    size_of = {0: "one"} | dict.fromkeys((1, 2), "two")
    groups = {image.name: f"{image.label} {size_of.get(int(image.path.stem), 'nine')}" for image in dataset.images}
    folds = names_by_fold(dataset, seed, groups)
    assert all(len({folds[name] for name in groups if groups[name] == group}) == 1 for group in groups.values())
    assert set(folds.values()) == set(range(5))
    for fold in range(5):
        learnt = {image.label for image in dataset.images if folds[image.name] != fold}
        assert learnt == set(dataset.labels)


def test_a_label_with_one_photo_or_one_group_is_always_learnt_and_never_judged(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"a": 10, "b": 10, "copies": 3, "rare": 1})
    groups = {image.name: "copies" for image in dataset.images if image.label == "copies"}
    folds = names_by_fold(dataset, 0, groups)
    assert {name.split("/")[0] for name, fold in folds.items() if fold == -1} == {"copies", "rare"}


def test_few_groups_make_fewer_folds_and_one_makes_none(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"a": 2, "b": 2})
    assert set(dataset.folds(10).tolist()) == {0, 1, 2, 3}
    together = {image.name: "one" for image in dataset.images}
    assert set(dataset.folds(10, groups=together).tolist()) == {-1}
    with pytest.raises(SettingError, match="seed"):
        dataset.folds(5, seed=-1)
