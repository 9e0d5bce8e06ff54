"""Doubtful labels of a folder of pictures, by a real net's features: the command, the log of a run, and Python."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from salver.cli import build
from tests.training.support.counted import Counted
from training.dataset.dataset import Dataset
from training.dataset.gather.sample.render import render
from training.dataset.reading.annotations import Annotation, write_annotations
from training.dataset.reading.doubtful import Doubtful, read_doubtful, write_doubtful
from training.errors import DatasetError, SettingError
from training.progress import Silent
from training.run.label_errors import LabelJudge, label_errors
from training.run.run import train_run
from training.run.settings import RunSettings

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]
NET = ("--base", "mobilenet_v2", "--weights", "offline")
LABELS = ("cutlery", "plate")
EACH = 24
PLANTED = {"cutlery/plate-1.jpg": "plate", "plate/cutlery-1.jpg": "cutlery"}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two labels, of which each has as many as it needs and a few more."""
    root = tmp_path_factory.mktemp("sound") / "photos"
    for label in LABELS:
        (root / label).mkdir(parents=True)
        for number in range(EACH):
            render(label, number, size=(160, 160)).save(root / label / f"{number:03d}.jpg")
    return root


@pytest.fixture
def photos(sound: Path, tmp_path: Path) -> Path:
    """The same with one picture of each label under the other one."""
    shutil.copytree(sound, tmp_path / "photos")
    for name, label in PLANTED.items():
        render(label, EACH + 1, size=(160, 160)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> LabelJudge:
    return LabelJudge("mobilenet_v2", "offline", device="cpu", cache=tmp_path_factory.mktemp("cache") / "features")


def check(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(build("check"), ["check", *map(str, words)])


def test_planted_labels_are_found_with_the_right_ones_and_their_parts(photos: Path, judge: LabelJudge) -> None:
    found = judge.judge(photos)
    assert {one.name: one.suggested for one in found.doubtful[:2]} == PLANTED
    assert all(one.label == one.name.split("/")[0] and 0 <= one.probability < 0.5 for one in found.doubtful)
    assert (found.judged, found.too_few, found.never_judged, found.unreadable) == (2 * EACH + 2, {}, (), ())
    assert {one.part for one in found.doubtful} == {""}
    parts = Dataset.from_dir(photos).split(val_size=0.1, test_size=0.3)
    Dataset.write_split(photos / "split.csv", parts)
    of = {image.name: part.part for part in parts for image in part.images}
    beside = judge.judge(photos)
    assert [one.part for one in beside.doubtful] == [of[one.name] for one in beside.doubtful]
    assert replace(beside, doubtful=tuple(replace(one, part="") for one in beside.doubtful)) == found
    named = Dataset.from_dir(photos).split(val_size=0.3, test_size=0.1, seed=5)
    Dataset.write_split(photos.parent / "named.csv", named)
    of = {image.name: part.part for part in named for image in part.images}
    assert all(one.part == of[one.name] for one in judge.judge(photos, split=photos.parent / "named.csv").doubtful)


def test_a_split_that_is_not_of_these_photos_is_refused_where_it_was_named_and_else_said(
    photos: Path, judge: LabelJudge
) -> None:
    Dataset.write_split(photos / "split.csv", Dataset.from_dir(photos).split(val_size=0.1, test_size=0.3))
    render("plate", 99, size=(160, 160)).save(photos / "plate" / "new.jpg")
    told = Counted()
    assert {one.part for one in judge.judge(photos, progress=told).doubtful} == {""}
    assert [line for line in told.lines if "parts are not told" in line and "plate/new.jpg is not in" in line]
    with pytest.raises(DatasetError, match=r"plate/new\.jpg is not in"):
        judge.judge(photos, split=photos / "split.csv")


def test_photos_that_look_alike_to_the_net_are_named_with_their_parts(photos: Path, judge: LabelJudge) -> None:
    """What the hashes cannot see: turned by a few degrees, cropped to 90 %."""
    assert judge.judge(photos).look_alikes == ()
    photo = Image.open(photos / "plate" / "003.jpg")
    photo.rotate(7, Image.Resampling.BICUBIC, fillcolor=photo.getpixel((0, 0))).save(photos / "plate" / "turned.jpg")
    other = Image.open(photos / "cutlery" / "005.jpg")
    other.crop((0, 16, 144, 160)).save(photos / "cutlery" / "cropped.jpg")
    shutil.copy(photos / "plate" / "003.jpg", photos / "plate" / "same.jpg")  # the hash finds that
    found = {pair.names for pair in judge.judge(photos).look_alikes}
    assert found == {("plate/003.jpg", "plate/turned.jpg"), ("cutlery/005.jpg", "cutlery/cropped.jpg")}
    parts = Dataset.from_dir(photos).split(val_size=0.1, test_size=0.3, seed=1)
    Dataset.write_split(photos / "split.csv", parts)
    of = {image.name: str(part.part) for part in parts for image in part.images}
    assert all(pair.parts == tuple(map(of.get, pair.names)) for pair in judge.judge(photos).look_alikes)
    ended = check(photos, "--labels", *NET)
    assert ended.exit_code == 0, ended.output
    assert "2 pairs of photos look alike to the net" in ended.stdout
    written = json.loads((photos / "check.json").read_text())["label_errors"]["look_alikes"]
    assert {tuple(pair["names"]) for pair in written} == found
    apart = sum(one["parts"][0] != one["parts"][1] for one in written)
    assert (f"of which {apart} lie" in ended.stdout) == bool(apart)


def test_copies_under_a_wrong_label_do_not_vouch_for_each_other(photos: Path, judge: LabelJudge) -> None:
    """A dozen of them would outvote the rest, if any were learnt while another is judged."""
    for number in range(12):
        shutil.copy(photos / "cutlery" / "plate-1.jpg", photos / "cutlery" / f"again-{number}.jpg")
    found = judge.judge(photos)
    copies = [one for one in found.doubtful if "again" in one.name or one.name == "cutlery/plate-1.jpg"]
    assert len(copies) == 13
    assert {one.suggested for one in copies} == {"plate"}


def test_copies_are_one_photo_of_those_that_a_label_needs(photos: Path, judge: LabelJudge) -> None:
    for number in range(6, EACH):
        shutil.copy(photos / "plate" / "000.jpg", photos / "plate" / f"{number:03d}.jpg")
    found = judge.judge(photos)
    assert found.too_few == {"plate": 7}  # 000 to 005, and the planted one
    assert {one.label for one in found.doubtful} == {"cutlery"}
    assert found.judged == EACH + 1


@pytest.mark.parametrize("rare", [1, 3])
def test_of_a_label_with_one_photo_or_three_it_says_that_it_cannot_tell(photos: Path, rare: int) -> None:
    (photos / "rare").mkdir()
    for number in range(rare):
        render("bowl", number, size=(160, 160)).save(photos / "rare" / f"{number}.jpg")
    ended = check(photos, "--labels", *NET)
    assert ended.exit_code == (rare < 3), ended.output
    assert f"cannot be told of labels with fewer than 20 different photos: 'rare' ({rare})" in ended.stdout
    assert ("1 photo never judged" in ended.stdout) == (rare == 1)
    assert set(PLANTED) <= {one.name for one in read_doubtful(photos)}
    written = json.loads((photos / "check.json").read_text())["label_errors"]
    assert written["too_few"] == {"rare": rare}
    assert written["never_judged"] == (["rare/0.jpg"] if rare == 1 else [])
    assert all(0 <= one["probability"] <= 1 and not one["name"].startswith("rare/") for one in written["doubtful"])


def test_the_command_says_how_many_and_which_and_writes_both_files(photos: Path) -> None:
    plain = check(photos)
    assert (plain.exit_code, "doubtful" in plain.stdout) == (0, False)
    assert json.loads((photos / "check.json").read_text())["label_errors"] is None
    ended = check(photos, "--labels", *NET)
    assert ended.exit_code == 0, ended.output
    listed = read_doubtful(photos)
    assert f"{len(listed)} of 50 photos have a doubtful label" in ended.stdout
    assert "cutlery/plate-1.jpg: is 'cutlery' (0.0" in ended.stdout
    assert "looks like 'plate'" in ended.stdout
    assert f"salver annotate {photos}" in ended.stdout
    written = json.loads((photos / "check.json").read_text())["label_errors"]
    assert [one["name"] for one in written["doubtful"]] == [one.name for one in listed]
    assert written["net"].startswith("mobilenet_v2, offline")
    assert sorted(path.name for path in photos.iterdir()) == ["check.json", "cutlery", "doubtful.csv", "plate"]
    write_annotations(photos, {one.name: Annotation(one.suggested) for one in listed})
    mended = check(photos, "--labels", *NET)
    assert not set(PLANTED) & {one.name for one in read_doubtful(photos)}, mended.stdout


def test_what_is_wrong_is_said_in_a_line_and_the_list_of_before_stays(photos: Path) -> None:
    before = (Doubtful("plate/000.jpg", "plate", "cutlery", 0.1),)
    write_doubtful(photos, before)
    for words, said in (
        (("--base", "mobilenet_v2"), "--base goes with --labels"),
        (("--split", "split.csv"), "--split goes with --labels"),
        (("--labels", "--base", "resnet19"), "There is no base 'resnet19'"),
        (("--labels", "--weights", "none"), "Random weights tell no label from another"),
    ):
        ended = check(photos, *words)
        assert (ended.exit_code, said in ended.stderr) == (2, True), ended.output
        assert ended.stdout == "", "before any photo is looked at"
    shutil.rmtree(photos / "plate")
    ended = check(photos, "--labels", *NET)
    assert ended.exit_code == 2
    assert "1 label" in ended.stdout
    assert json.loads((photos / "check.json").read_text())["problems"] == 1
    assert read_doubtful(photos) == before


def test_photos_that_cannot_be_read_are_left_out_and_said(photos: Path, judge: LabelJudge) -> None:
    (photos / "plate" / "000.jpg").write_bytes((photos / "plate" / "000.jpg").read_bytes()[:400])
    ended = check(photos, "--labels", *NET)
    assert ended.exit_code == 1
    assert "1 photo left out, unreadable" in ended.stdout
    assert set(PLANTED) <= {one.name for one in read_doubtful(photos)}
    assert judge.judge(photos).unreadable == ("plate/000.jpg",)
    for path in (photos / "plate").iterdir():
        path.write_text("no photo")
    with pytest.raises(DatasetError, match="1 label with photos that can be read, and it takes two"):
        judge.judge(photos)


class Interrupting(Silent):
    """Ctrl-C while the features are computed."""

    def begin(self, stage: str, total: int) -> None:  # noqa: ARG002  # the protocol's
        if stage.startswith("features"):
            raise KeyboardInterrupt


def test_after_an_interruption_the_same_is_found(photos: Path, judge: LabelJudge, tmp_path: Path) -> None:
    wanted = judge.judge(photos)
    anew = LabelJudge("mobilenet_v2", "offline", device="cpu", cache=tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        anew.judge(photos, progress=Interrupting())
    assert anew.judge(photos) == wanted
    (tmp_path / "cache").write_bytes((tmp_path / "cache").read_bytes()[:5000])
    torn = LabelJudge("mobilenet_v2", "offline", device="cpu", cache=tmp_path / "cache")
    assert torn.judge(photos) == wanted


@pytest.mark.slow
def test_a_run_says_how_many_training_photos_have_a_doubtful_label_and_what_lists_them(
    photos: Path, tmp_path: Path
) -> None:
    settings = RunSettings(
        *(photos, tmp_path / "run", "mobilenet_v2", "offline", (224, 224)),
        resize="crop",
        head="svm",
        test_size=0.05,
        val_size=0.05,
        device="cpu",
    )
    told = Counted()
    train_run(settings, told)
    (line,) = [line for line in told.lines if "doubtful" in line]
    assert "training photos have a doubtful label; list them with: salver check" in line
    assert line.endswith(f"{photos} --labels --base mobilenet_v2 --weights offline")
    told = Counted()
    train_run(replace(settings, out=tmp_path / "few", test_size=0.5), told)
    (line,) = [line for line in told.lines if "doubtful" in line]
    assert line == "whether labels are doubtful cannot be told: none has 20 different training photos"
    told = Counted()
    train_run(replace(settings, out=tmp_path / "none", weights="none", image_size=(64, 64)), told)
    assert not [line for line in told.lines if "doubtful" in line]


@pytest.mark.slow
def test_it_is_a_name_for_other_peoples_code(photos: Path) -> None:
    script = (
        "import sys; from salver import label_errors\n"
        "found = label_errors(sys.argv[1], 'mobilenet_v2', 'offline')\n"
        "print(*sorted(one.name for one in found.doubtful[:2]))"
    )
    ended = subprocess.run([sys.executable, "-c", script, photos], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout == f"{' '.join(sorted(PLANTED))}\n", ended.stderr
    with pytest.raises(SettingError, match="Random weights"):
        label_errors(photos, weights="none")
