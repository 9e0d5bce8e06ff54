"""What commands write never lies among the photos, and what they once wrote there is no photo and no label."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from salver.cli import build
from tests.support.images import photo
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.dataset.reading.own import REPORT_PICTURES
from training.dataset.reading.places import refuse_inside
from training.errors import SettingError
from training.evaluation.plots import plots

REFUSED = "where it would be taken for photos and labels. Name one outside of it."


def run(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(build(str(words[0])), list(map(str, words)))


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    photo_folder(tmp_path / "photos", {"cup": 5, "plate": 5})
    return tmp_path / "photos"


@pytest.mark.torch
@pytest.mark.parametrize(
    "command",
    [
        "train {data} --out {data}/runs/first",
        "train {data} --out {data}",
        "train {data} --out {data}/cup/../runs",
        "train {data} --out {top}/link/run",
        "train {top}/link --out {data}/run",
        "train {data} --out {top}/far/run",
        "train {data} --out {top}/run --tensorboard {data}/board",
        "train {data} --out {data}/run --resume",
        "train {data} --out {data}/run --overwrite",
        "evaluate {model} {data} --out {data}/report",
        "evaluate {model} {data} --out {data}/cup/report",
        "threshold {model} --label cup --threshold 0.5 --data {data} --out {data}/model.onnx",
        "augment {data} --preview {data}/sheet.png",
        "augment {data} --preview {data}/cup/sheet.png",
        "check {data} --out {data}/cup/check.json",
        "check {data} --out {data}/cup/000.jpg",
        "check {top}/far --against {data} --out {data}/x/check.json",
        "split {data} --out {data}/cup/split.csv",
        "split {data} --out {data}/split.jpg",
        "build {top}/spec.json --out {data}/more",
        "build {top}/spec.json --out {data}",
        "build {top}/far.json --out {data}/more",
        "sample {data}/sample --count 1",
        "sample {data}/cup/sample --count 1",
    ],
)
def test_an_output_among_the_photos_is_refused_before_work_begins(finished_run: Path, data: Path, command: str) -> None:
    """Through links and `..`, too, and where a label folder is a link to elsewhere."""
    (data.parent / "link").symlink_to(data, target_is_directory=True)
    (data.parent / "far").mkdir()
    (data.parent / "far" / "000.jpg").write_bytes(photo(60, 50, 77))
    (data / "bowl").symlink_to(data.parent / "far", target_is_directory=True)
    (data.parent / "spec.json").write_text('{"cup": ["photos"]}')
    (data.parent / "far.json").write_text('{"cup": ["far"]}')
    (data / "annotations.csv").write_text("path,label,flag,note\n")
    before = everything(data.parent)
    ended = run(*command.format(data=data, top=data.parent, model=finished_run / "model.onnx").split())
    assert ended.exit_code in (1, 2), ended.output
    assert "lies in the folder of photos" in ended.stderr
    assert REFUSED in ended.stderr
    assert everything(data.parent) == before


def test_what_salver_keeps_beside_photos_stays_where_it_is(data: Path) -> None:
    """Tables directly in the folder; not one in another's place."""
    assert run("check", data).exit_code == 0
    assert run("split", data, "--val-size", "0.2").exit_code == 0
    assert run("split", data, "--val-size", "0.2", "--out", data / "other split.csv").exit_code == 0
    assert run("check", data, "--out", data / "second.json").exit_code == 0
    refused = run("split", data, "--val-size", "0.2", "--out", data / "annotations.csv")
    assert (refused.exit_code, "would replace what another command keeps there" in refused.stderr) == (1, True)
    assert not (data / "annotations.csv").exists()
    assert Dataset.from_dir(data).labels == ("cup", "plate")


def test_an_output_beside_the_photos_or_above_them_is_taken(data: Path) -> None:
    for out in (data.parent, data.parent / "photos-2", data.parent / "runs" / "photos", Path("/photos")):
        refuse_inside(data, out, "The report")
    (data.parent / "other").mkdir()
    (data.parent / "other" / "photos").symlink_to(data, target_is_directory=True)
    refuse_inside(data, data.parent / "other", "The report")
    with pytest.raises(SettingError, match=r"The report .*other/photos/x lies in the folder of photos"):
        refuse_inside(data, data.parent / "other" / "photos" / "x", "The report")


def test_a_sample_in_a_folder_that_holds_a_table_and_folders_of_photos_is_taken(data: Path) -> None:
    """A project's folder with photos/ and a split file in it is no folder of photos."""
    (data.parent / "split.csv").write_text("path,label,part,sha256\n")
    assert run("sample", data.parent / "sample", "--count", "1").exit_code == 0
    assert run("sample", data / "sample", "--count", "1").exit_code == 0  # nothing says that photos/ is one


def test_a_build_beside_its_sources_is_taken(data: Path) -> None:
    (data.parent / "spec.json").write_text('{"cup": ["photos/cup"], "plate": ["photos/plate"]}')
    assert run("build", data.parent / "spec.json", "--out", data.parent / "built").exit_code == 0
    refused = run("build", data.parent / "spec.json", "--out", data)
    assert (refused.exit_code, REFUSED in refused.stderr) == (1, True)


@pytest.mark.torch
def test_python_refuses_it_too(data: Path) -> None:
    from torchvision.transforms import v2

    from training.fit.augmentation import augment
    from training.report.contact_sheet import write_sheet

    dataset, before = Dataset.from_dir(data), everything(data)
    with pytest.raises(SettingError, match="The folder for augmented images"):
        augment(dataset, [v2.Identity()], out=data / "more")
    with pytest.raises(SettingError, match="The contact sheet"):
        write_sheet(data / "sheet.png", dataset, v2.Identity())
    assert everything(data) == before
    (data.parent / "list.csv").write_text("path,label\nphotos/cup/000.jpg,cup\nphotos/plate/000.jpg,plate\n")
    table = Dataset.from_csv(data.parent / "list.csv")
    assert len(augment(table, [v2.Identity()], out=data.parent / "augmented")) == 4


@pytest.mark.torch
def test_another_precision_is_not_exported_among_the_photos(run_folder: Path) -> None:
    from tests.training.support.runs import exported

    photos = Path(json.loads((run_folder / "run.json").read_text())["settings"]["data"])
    with pytest.raises(SettingError, match=r"The model file .* lies in the folder of photos"):
        exported(run_folder, "int8", photos / "model.int8.onnx", 1.0)


@pytest.mark.torch
def test_folders_that_salver_wrote_among_the_photos_are_no_labels_and_said(
    finished_run: Path, data: Path, tmp_path: Path
) -> None:
    """By an earlier version, or copied there: a run, a report, an interrupted run, TensorBoard's, augmented photos."""
    from torchvision.transforms import v2

    from training.fit.augmentation import augment

    shutil.copytree(finished_run, data / "runs" / "first")
    ended = run("evaluate", finished_run / "model.onnx", data, "--out", tmp_path / "report")
    assert ended.exit_code == 0, ended.output
    assert "written by Salver and left out: runs/first" in ended.output
    shutil.copytree(tmp_path / "report", data / "report")
    shutil.copytree(tmp_path / "report", data / "plate" / "report")
    (data / "stopped" / "checkpoint").mkdir(parents=True)
    (data / "stopped" / "checkpoint" / "state.safetensors").write_bytes(b"x")
    (data / "board").mkdir()
    (data / "board" / "events.out.tfevents.1.host.2.0").write_bytes(b"x")
    augment(Dataset.from_dir(finished_run.parent / "photos"), [v2.Identity()], out=data / "augmented")
    dataset = Dataset.from_dir(data)
    assert dataset.counts() == {"cup": 5, "plate": 5}
    assert "written by Salver and left out: augmented, board, plate/report, report, runs/first, …" in dataset.summary()
    assert not any("checkpoint" in note for note in dataset.notes)
    checked = run("check", data)
    assert (checked.exit_code, "written by Salver and left out" in checked.output) == (0, True)
    shutil.rmtree(data / "augmented")
    (data / "train").mkdir()
    for label in ("cup", "plate", "runs"):
        (data / label).rename(data / "train" / label)
    shutil.copytree(data / "train", data / "val", ignore=shutil.ignore_patterns("runs"))
    parted = Dataset.from_dir(data)
    assert parted.counts() == {"cup": 10, "plate": 10}
    assert len(parted.parts()["validation"]) == 10


@pytest.mark.torch
def test_photos_in_a_folder_that_a_report_was_once_written_to_stay_photos(
    finished_run: Path, data: Path, tmp_path: Path
) -> None:
    assert run("evaluate", finished_run / "model.onnx", data, "--out", tmp_path / "report").exit_code == 0
    for file in (tmp_path / "report").iterdir():
        shutil.copy(file, data / "cup" / file.name)
        shutil.copy(file, data / file.name)
    dataset = Dataset.from_dir(data)
    assert dataset.counts() == {"cup": 5, "plate": 5}
    assert {path.name for path in dataset.ignored} == {"metrics.json", "report.html"}


@pytest.mark.parametrize("name", ["model.onnx", "run.json", "metrics.json", "report.html", "roc.png", "history.png"])
def test_one_file_with_such_a_name_makes_no_folder_salvers(data: Path, name: str) -> None:
    (data / "cup" / name).write_bytes(photo(60, 50, 99))
    (data / "roc").mkdir()
    (data / "roc" / "roc.png").write_bytes(photo(60, 50, 98))
    assert Dataset.from_dir(data).counts() == {"cup": 6, "plate": 5, "roc": 1}


@pytest.mark.torch
def test_every_picture_of_a_report_is_known(finished_run: Path, data: Path) -> None:
    from training.evaluation.evaluate import evaluate
    from training.report.report import metrics_of

    evaluation = evaluate(finished_run / "model.onnx", Dataset.from_dir(data))
    names = plots(evaluation, metrics_of(evaluation).test)
    assert {f"{name}.{form}" for name in names for form in ("png", "svg")} == set(REPORT_PICTURES)


def test_a_report_does_not_take_the_place_of_a_runs_own(finished_run: Path, data: Path) -> None:
    """The figures of the run would be gone, and its scores.csv would say something else."""
    before = {path.name: path.read_bytes() for path in finished_run.iterdir() if path.is_file()}
    refused = run("evaluate", finished_run / "model.onnx", data, "--out", finished_run)
    assert (refused.exit_code, "holds a run of 'salver train'" in refused.stderr) == (2, True)
    assert {path.name: path.read_bytes() for path in finished_run.iterdir() if path.is_file()} == before


def test_a_split_that_replaces_another_says_so(data: Path, tmp_path: Path) -> None:
    words = ("split", data, "--val-size", "0.2", "--out", tmp_path / "split.csv")
    first, second = run(*words), run(*words)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert f"written to {tmp_path}/split.csv; next" in first.output
    assert f"written to {tmp_path}/split.csv in place of the one before; next" in second.output
