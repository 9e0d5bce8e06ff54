"""`salver train --group-by`: what belongs together is in one part and one fold, and an export splits as the run did."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from salver.cli import build
from tests.training.run.test_run import settings
from tests.training.support.counted import Counted
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import SettingError
from training.progress import Silent
from training.run.classifier import Classifier
from training.run.folder import read_run
from training.run.parts import groups_of, split
from training.run.run import train_run
from training.run.settings import RunSettings

pytestmark = pytest.mark.torch
PATTERN = r"/\d\d(\d)"
"""The last digit of the number: two or three photos of each label, and those of both labels together."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("groups") / "photos"
    photo_folder(root, {"bowl": 24, "cup": 24})
    return root


def wanted(photos: Path, out: Path) -> RunSettings:
    return replace(settings(photos, out), group_by=PATTERN)


def digit(name: str) -> str:
    return name.split(".")[0][-1]


@pytest.mark.slow
def test_a_run_keeps_its_groups_together_and_an_export_splits_as_it_did(photos: Path, tmp_path: Path) -> None:
    told = Counted()
    asked = replace(wanted(photos, tmp_path / "run"), test_size=0.2, val_size=0.02)
    assert train_run(asked, told) is not None
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["group_by"] == PATTERN
    parts = split(Dataset.from_dir(photos), asked, 0.02)
    assert parts.validation is not None
    digits = [{digit(image.name) for image in part.images} for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, digits)) == 10
    (line,) = [line for line in told.lines if "asked for" in line]
    assert line.startswith(f"the validation part has {len(parts.validation)} of 48 images")
    model = read_run(tmp_path / "run")
    assert model.train.fingerprint() == parts.train.fingerprint()
    record["settings"]["group_by"] = "["
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    with pytest.raises(SettingError, match="is not the folder of a finished run"):
        read_run(tmp_path / "run")


@pytest.mark.slow
def test_photos_of_a_group_are_in_one_fold(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a file that says which photo is in which part, too: it says nothing of folds."""
    file = tmp_path / "split.csv"
    Dataset.write_split(file, Dataset.from_dir(photos).split(val_size=0.1, test_size=0.3))
    asked = replace(wanted(photos, tmp_path / "run"), split_file=file, head="lda", val_size=0.1)
    given: list[object] = []
    folds = Dataset.folds

    def noted(self: Dataset, count: int, **options: object) -> object:
        given.append(options["groups"])
        return folds(self, count, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Dataset, "folds", noted)
    assert train_run(asked, Silent()) is not None
    groups = groups_of(Dataset.from_dir(photos), asked)
    assert groups is not None
    assert given == [groups]
    train = Dataset.from_dir(photos).read_split(file)["train"]
    numbers = train.folds(5, groups=groups)
    assert len({(digit(image.name), number) for image, number in zip(train.images, numbers, strict=True)}) == 10


def test_a_run_without_groups_has_none(photos: Path, tmp_path: Path) -> None:
    assert groups_of(Dataset.from_dir(photos), settings(photos, tmp_path)) is None


def test_what_names_no_group_is_refused_before_a_net_is_made(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="has no group"):
        replace(settings(photos, tmp_path / "run"), group_by="a")
    with pytest.raises(SettingError, match=r"'\(x\+\)' matches no name, such as bowl/000\.jpg"):
        train_run(replace(settings(photos, tmp_path / "run"), group_by="(x+)"), Silent())
    words = ["train", str(photos), "--out", str(tmp_path / "run"), "--group-by", "["]
    ended = CliRunner(env={"COLUMNS": "300"}).invoke(build("train"), words)
    assert ended.exit_code == 2
    assert "'[' is not a regular expression" in ended.output
    assert not (tmp_path / "run").exists()


def test_a_classifier_takes_the_groups(photos: Path) -> None:
    data = Dataset.from_dir(photos)
    classifier = Classifier("mobilenet_v2", data.labels, 64, "none", device="cpu")
    classifier.fit_head(data, kind="lda", groups={image.name: digit(image.name) for image in data.images})
    assert classifier.cross_validated is not None
