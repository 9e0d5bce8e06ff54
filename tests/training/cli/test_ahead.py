"""What happens while torch is imported."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from salver.system.cache import Cache
from tests.training.support.counted import Counted
from tests.training.support.photos import photo_folder
from training.cli.ahead import LookingAhead
from training.dataset.inspection.files import NAME, inspect_files, known

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return user_cache_path("salver") / f"{NAME}.sqlite"


def looked_at(paths: list[Path], cache: Path) -> int:
    with Cache(cache) as kept:
        return len(known(paths, kept))


def test_what_was_looked_at_meanwhile_is_not_looked_at_again(tmp_path: Path, cache: Path) -> None:
    paths = [image.path for image in photo_folder(tmp_path / "photos", {"cup": 3, "bowl": 3}).images]
    until = time.monotonic() + 30
    with LookingAhead(tmp_path / "photos"):
        while looked_at(paths, cache) < len(paths):
            assert time.monotonic() < until
            time.sleep(0.01)
    before = cache.stat().st_mtime_ns
    inspect_files(paths, Counted())
    assert cache.stat().st_mtime_ns == before


@pytest.mark.parametrize("fault", ["absent", "a file", "one label", "broken"])
def test_faults_are_left_to_the_run(tmp_path: Path, cache: Path, fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "photos"
    if fault == "a file":
        photos.write_text("no folder")
    elif fault != "absent":
        photo_folder(tmp_path / "made", {"cup": 2, "bowl": 2})
        (tmp_path / "made").rename(photos)
        if fault == "one label":
            (photos / "bowl").rename(tmp_path / "elsewhere")
        else:
            (photos / "cup" / "000.jpg").write_bytes(b"\xff\xd8\xff")
    with LookingAhead(photos):
        time.sleep(0.2)
    assert capfd.readouterr() == ("", "")


def test_an_end_does_not_wait_for_the_photos_that_are_left(tmp_path: Path, cache: Path) -> None:
    paths = [image.path for image in photo_folder(tmp_path / "photos", {"cup": 200, "bowl": 200}).images]
    with pytest.raises(KeyboardInterrupt), LookingAhead(tmp_path / "photos"):
        raise KeyboardInterrupt
    assert looked_at(paths, cache) < len(paths)


@pytest.mark.slow
@pytest.mark.timed
def test_the_first_line_stands_there_before_torch_is_imported(tmp_path: Path) -> None:
    """In half a second of a core, of five tries the best: a busy core counts for half a one."""
    photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 2})
    assert min(seconds_to_the_first_line(tmp_path) for _ in range(5)) < 0.5


def seconds_to_the_first_line(folder: Path) -> float:
    words = ["train", str(folder / "photos"), "--out", str(folder / "run")]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "salver", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "400"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process.stdout as lines:
        assert lines.readline().decode() == f"reading {folder / 'photos'} …\n"
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        process.kill()
    process.wait()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
