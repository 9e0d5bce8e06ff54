"""The files that Salver itself writes, in every state in which it may find them again."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from salver.cli import build
from tests.training.support.photos import photo_folder
from training.dataset.collection import collect
from training.dataset.dataset import Dataset
from training.dataset.gather.download import DownloadLimits
from training.dataset.gather.origins import COLUMNS, Sources
from training.dataset.gather.spec import read_spec
from training.dataset.inspection.files import inspect_files
from training.dataset.inspection.thumbnails import thumbnail
from training.dataset.reading.annotations import Annotation, read_annotations, read_quarantine, write_annotations
from training.dataset.reading.doubtful import read_doubtful
from training.errors import DatasetError

TORN = b'path,label,flag,note,part,sha256,reason\ncup/000.jpg,"cup'
TABLES = {
    "annotations.csv": lambda root: read_annotations(root),
    "quarantine.csv": lambda root: read_quarantine(root),
    "doubtful.csv": lambda root: read_doubtful(root),
    "split.csv": lambda root: Dataset.from_dir(root).read_split(root / "split.csv"),
}
STATES = ("empty", "torn", "hostile", "of another version", "binary", "pipe", "folder", "link to a device", "away")
HOSTILE = b"path,label,flag,note,part,sha256,reason\n../../x.jpg,a\x1b]0;owned\x07,bad,=cmd,train,0,\x1b[2J\n"


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    """A pipe that is opened as a file waits for ever: here for a while."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(path: Path, state: str) -> None:
    """The file in that state; away: a link that leads nowhere but to itself, which root cannot open either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {
        "empty": b"",
        "torn": TORN,
        "hostile": HOSTILE,
        "of another version": b"version,rows\n2,0\n",
        "binary": b"\xff\xfe\x00\x01" * 50,
    }
    if state == "pipe":
        os.mkfifo(path)
    elif state == "folder":
        path.mkdir()
    elif state == "link to a device":
        path.symlink_to("/dev/zero")
    elif state == "away":
        path.symlink_to(path.name)
    else:
        path.write_bytes(contents[state])


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_or_refused_by_its_name(tmp_path: Path, name: str, state: str) -> None:
    photo_folder(tmp_path, {"cup": 2, "bowl": 2})
    Dataset.write_split(
        tmp_path / "split.csv", Dataset.from_dir(tmp_path).split(val_size=0.25, test_size=0.25, stratify=False)
    )
    (tmp_path / name).unlink(missing_ok=True)
    put(tmp_path / name, state)
    read: Callable[[Path], object] = TABLES[name]
    if name != "split.csv" and state == "away":
        read(tmp_path)  # a link that leads nowhere is as good as no file
        return
    with pytest.raises(DatasetError, match=name.replace(".", r"\.")) as caught:
        read(tmp_path)
    assert str(caught.value).isprintable()
    (tmp_path / name).rmdir() if state == "folder" else (tmp_path / name).unlink()
    write_annotations(tmp_path, {"cup/000.jpg": Annotation(note="goes on")})
    assert len(Dataset.from_dir(tmp_path)) == 4


@pytest.mark.parametrize("state", STATES)
def test_a_list_of_origins_is_read_or_refused_and_a_torn_one_goes_on(tmp_path: Path, state: str) -> None:
    path = tmp_path / "sources.csv"
    put(path, state)
    if state == "torn":
        path.write_text(",".join(COLUMNS) + '\ncup/a.jpg,cup,https://example.org/a.jpg,url,,,,,,"a tit')
    if state in ("torn", "away"):
        assert Sources(tmp_path).known == []
        return
    with pytest.raises(DatasetError, match=r"sources\.csv"):
        Sources(tmp_path)


@pytest.mark.parametrize("state", STATES)
def test_a_spec_is_refused_by_its_name(tmp_path: Path, state: str) -> None:
    put(tmp_path / "spec.json", state)
    with pytest.raises(DatasetError, match=r"spec\.json"):
        read_spec(tmp_path / "spec.json")


@pytest.mark.parametrize("state", STATES)
def test_the_inspection_cache_is_a_help_and_never_a_hindrance(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    inspect_files([])
    kept = next((tmp_path / "cache" / "salver").glob("*.sqlite"))
    for file in kept.parent.iterdir():
        file.unlink()
    put(kept, state)
    paths = sorted((tmp_path / "photos").rglob("*.jpg"))
    assert [found.problem for found in inspect_files(paths)] == ["", ""]


@pytest.mark.parametrize("state", STATES)
def test_a_thumbnail_is_made_anew_where_the_kept_one_is_none(tmp_path: Path, state: str) -> None:
    photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    path = tmp_path / "photos" / "cup" / "000.jpg"
    made = thumbnail(path, tmp_path / "kept")
    (kept,) = (tmp_path / "kept").rglob("*.jpg")
    kept.unlink()
    put(kept, state)
    assert thumbnail(path, tmp_path / "kept") == made


def run(*words: str) -> Result:
    return CliRunner().invoke(build(words[0]), words)


@pytest.mark.torch
@pytest.mark.parametrize("state", STATES)
def test_a_finished_runs_record_is_read_or_refused(run_folder: Path, state: str) -> None:
    path = run_folder / "run.json"
    kept = path.read_bytes()
    path.unlink()
    try:
        put(path, state)
        ended = run("export", str(run_folder), "--precision", "fp16")
        assert ended.exit_code == 1, ended.output
        assert f"{run_folder} is not the folder of a finished run: " in ended.stderr
        assert "Traceback" not in ended.output
    finally:
        path.rmdir() if state == "folder" else path.unlink()
        path.write_bytes(kept)


KINDS = ("pipe", "folder", "link to a device", "away", "empty", "sparse")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_named_like_a_photo_is_found_by_check_and_holds_nothing_up(tmp_path: Path, kind: str) -> None:
    photo_folder(tmp_path / "photos", {"cup": 3, "bowl": 3})
    path = tmp_path / "photos" / "cup" / "x.jpg"
    if kind == "sparse":
        with path.open("wb") as stream:
            stream.truncate(30 * 1024**3)
    else:
        put(path, kind)
    ended = run("check", str(tmp_path / "photos"))
    report = json.loads((tmp_path / "photos" / "check.json").read_text())
    named = {name for finding in report["findings"] for item in finding["items"] for name in item["images"]}
    assert (ended.exit_code, report["images"]) == ((0, 6) if kind in ("folder", "link to a device") else (1, 7))
    assert ("cup/x.jpg" in named) == (kind != "folder")  # a folder is a folder, whatever its name
    listed = run("check", str(tmp_path / "photos"), "--quarantine")
    assert listed.exit_code == 0, listed.output
    assert len(Dataset.from_dir(tmp_path / "photos")) == 6
    mended = (tmp_path / "photos" / "cup" / "000.jpg").read_bytes()
    path.rmdir() if kind == "folder" else path.unlink()
    path.write_bytes(mended)
    assert len(collect(tmp_path / "photos").images) == 7  # a file that was mended is used again


@pytest.mark.parametrize("kind", ["pipe", "sparse"])
def test_no_command_waits_for_what_is_named_like_a_photo(tmp_path: Path, kind: str) -> None:
    photo_folder(tmp_path / "photos", {"cup": 3, "bowl": 3})
    path = tmp_path / "photos" / "cup" / "x.jpg"
    if kind == "sparse":
        with path.open("wb") as stream:
            stream.truncate(30 * 1024**3)
    else:
        put(path, kind)
    reason = (
        "It is a pipe, not a file" if kind == "pipe" else "It has 32,212,254,720 bytes; the limit is 20,971,520 bytes"
    )
    (tmp_path / "spec.json").write_text('{"cup": ["photos"]}')
    built = run("build", str(tmp_path / "spec.json"), "--out", str(tmp_path / "built"))
    assert built.exit_code == 3
    assert f"cannot be read: {reason}" in built.output
    split = run("split", str(tmp_path / "photos"))
    assert split.exit_code == 1
    assert reason in split.stderr
    scored = run("score", str(path), "--url", "http://127.0.0.1:9")
    if kind == "pipe":
        assert f"{path}: {reason}" in scored.stdout


def test_a_photo_whose_name_begins_like_a_formula_is_a_photo_everywhere(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    dataset = photo_folder(root, {"cup": 6, "bowl": 6})
    names = ("=1+1.jpg", "-x.jpg", "_DSC0001.jpg", "+a, 'b' \"c\".jpg", "@home.jpg", "'=q.jpg")
    for number, name in enumerate(names):
        (root / "cup" / f"00{number}.jpg").rename(root / name)
    write_annotations(root, {name: Annotation("cup", note="=1+1") for name in names})
    dataset = Dataset.from_dir(root)
    assert dataset.counts() == {"bowl": 6, "cup": 6}
    Dataset.write_split(root / "split.csv", dataset.split(val_size=0.25, test_size=0.25))
    assert sum(map(len, dataset.read_split(root / "split.csv").values())) == 12
    for name in names:
        for file in ("annotations.csv", "split.csv"):
            assert f"\n{name}" not in (root / file).read_text() or name.startswith(("_", "'"))


def test_a_build_writes_tables_that_no_spreadsheet_runs(tmp_path: Path) -> None:
    from training.dataset.gather.build import build as build_set
    from training.dataset.gather.spec import FolderSource
    from training.progress import Silent

    photo_folder(tmp_path / "=photos", {"cup": 1, "bowl": 1})
    os.mkfifo(tmp_path / "=photos" / "x.jpg")
    sources = [FolderSource("=1+1", tmp_path / "=photos"), FolderSource("@none", tmp_path / "none")]
    report = build_set(sources, tmp_path / "out", None, per_query=5, limits=DownloadLimits(), progress=Silent())
    assert (report.added, len(report.failures)) == (2, 2)
    for name in ("sources.csv", "failures.csv"):
        assert not any(line.startswith(("=", "@")) for line in (tmp_path / "out" / name).read_text().splitlines())
    again = build_set(sources, tmp_path / "out", None, per_query=5, limits=DownloadLimits(), progress=Silent())
    assert (again.added, again.kept) == (0, 2)
