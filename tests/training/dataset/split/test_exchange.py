"""Groups change sides so that parts come near their shares, and what was right stays as it was."""

import itertools
import random
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from salver.cli import build
from tests.support.images import encode, picture
from training.dataset.dataset import Dataset, Part
from training.dataset.split.asked import off_the_share
from training.dataset.split.exchange import Kind, evened, kind_of
from training.errors import DatasetError

FRAMES = (1, 2, 9)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six labels, each of groups of 1, 2 and 9 frames: N3-24 of the cases."""
    root = tmp_path_factory.mktemp("series") / "photos"
    for label in "abcdef":
        (root / label).mkdir(parents=True)
        for group, frames in enumerate(FRAMES):
            for frame in range(frames):
                image: Image.Image = picture(40, 30, hash_of(label, group, frame))
                (root / label / f"{label}{group}_{frame}.jpg").write_bytes(encode(image, "JPEG"))
    return root


def hash_of(label: str, group: int, frame: int) -> int:
    return "abcdef".index(label) * 100 + group * 10 + frame


def test_large_groups_come_near_the_shares_that_were_asked_for(series: Path) -> None:
    """Taken in their order alone, 12 to 33 of 72 were in the validation part where 7 were asked for."""
    dataset = Dataset.from_dir(series)
    groups = {image.name: image.path.stem.split("_")[0] for image in dataset.images}
    for seed in range(20):
        parts = dataset.split(val_size=0.1, test_size=0.33, seed=seed, groups=groups)
        assert [len(part) for part in parts] == [54, 6, 12]
        assert all(all(part.counts().values()) for part in parts)
        placed = {(groups[image.name], part.part) for part in parts for image in part.images}
        assert len(placed) == 18
        assert parts == dataset.split(val_size=0.1, test_size=0.33, seed=seed, groups=groups)


def test_a_share_that_groups_do_not_allow_is_said(series: Path, tmp_path: Path) -> None:
    words = ["split", str(series), "--group-by", "/(.*)_", "--val-size", "0.1", "--out", str(tmp_path / "split.csv")]
    ended = CliRunner(env={"COLUMNS": "300"}).invoke(build("split"), words)
    assert ended.exit_code == 0, ended.output
    assert "the test part has 12 of 72 images (17%), where 33% was asked for" in ended.output
    assert "validation part has" not in ended.output
    assert "asked for" not in CliRunner().invoke(build("split"), [*words[:2], *words[4:]]).output


def test_a_part_that_is_cut_from_a_folders_part_is_measured_by_that() -> None:
    sizes: dict[Part, int] = {"train": 60, "validation": 20, "test": 20}
    assert off_the_share(sizes, {"validation": 0.25, "test": 0.5}, given=("train", "test")) == []
    (line,) = off_the_share(sizes, {"validation": 0.1, "test": 0.5}, given=("train", "test"))
    assert line.startswith("the validation part has 20 of 80 images (25%), where 10% was asked for")
    (line,) = off_the_share(sizes, {"validation": 0.25, "test": 0.2})
    assert line.startswith("the validation part has 20 of 100 images (20%), where 25% was asked for")
    assert off_the_share({"train": 3, "validation": 0, "test": 1}, {"test": 0.3}) == []


def test_what_is_right_already_is_left_as_it_was() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        kinds = [kind_of(label) for label in "aaabbbccc"] + [kind_of(rng.choice("abc")) for _ in range(30)]
        first = [True, True, False] * 3 + [rng.random() < 0.7 for _ in range(30)]
        sizes, inside = Counter(kinds), Counter(itertools.compress(kinds, first))
        shares = {kind: inside[kind] / sizes[kind] for kind in sizes}
        for stratify in (True, False):
            found = evened(
                kinds, first, [shares[k] for k in kinds], stratify=stratify, least_first=1, least_second=int(stratify)
            )
            assert found == first


def test_a_label_that_a_part_lacks_comes_before_the_numbers() -> None:
    kinds: list[Kind] = [(("a", 3), ("b", 1)), (("a", 3),), (("b", 2),), (("a", 5),)]
    found = evened(kinds, [False] * 4, [0.25] * 4, stratify=True, least_first=1, least_second=1)
    assert found == [True, False, False, False]
    kinds = [(("a", 1),), (("b", 8),), (("b", 8),)]
    assert evened(kinds, [True, True, True], [0.5] * 3, stratify=True, least_first=1, least_second=1) == [
        True,
        True,
        False,
    ]


def test_persons_with_several_labels_are_divided_too(tmp_path: Path) -> None:
    """Each of them is the only one with its labels: in their order all would come into the first part."""
    labels = {"p0": "ab", "p1": "bc", "p2": "ca", "p3": "abc", "p4": "a", "p5": "b", "p6": "c", "p7": "aab"}
    number = 0
    for person, own in labels.items():
        for label in own * 2:
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{person}_{number}.png").write_bytes(encode(picture(40, 30, number)))
            number += 1
    dataset = Dataset.from_dir(tmp_path)
    groups = {image.name: image.path.name.split("_")[0] for image in dataset.images}
    for seed in range(5):
        train, test = dataset.split(0.66, seed=seed, groups=groups)
        assert abs(len(train) - 0.66 * len(dataset)) <= 3
        assert all(train.counts().values())
        assert all(test.counts().values())
    with pytest.raises(DatasetError, match="Too few images for 2 parts: 'a'"):
        dataset.split(0.66, groups=dict.fromkeys(groups, "all"))
