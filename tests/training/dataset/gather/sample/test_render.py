import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.dataset.gather.sample.render import LABELS, ForeignFolder, render, write_sample


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Stopped(Exception):
    """Raised from the progress callback, where Ctrl-C would strike."""


def test_the_labels_are_the_four_kinds_of_tableware_in_order() -> None:
    assert LABELS == ("bowl", "cup", "cutlery", "plate")


def test_the_sample_is_one_folder_a_label_of_numbered_rgb_jpegs(tmp_path: Path) -> None:
    write_sample(tmp_path / "new" / "sample", count=2)
    written = files_in(tmp_path / "new" / "sample")
    assert sorted(written) == [f"{label}/{label}-{index:03d}.jpg" for label in LABELS for index in range(2)]
    with Image.open(tmp_path / "new" / "sample" / "cup" / "cup-001.jpg") as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        write_sample(tmp_path / name, count=1, seed=seed)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
    assert not set(files_in(tmp_path / "one").values()) & set(files_in(tmp_path / "three").values())


def test_a_larger_count_adds_pictures_and_changes_none(tmp_path: Path) -> None:
    write_sample(tmp_path, count=1)
    few = files_in(tmp_path)
    write_sample(tmp_path, count=3)
    assert few.items() < files_in(tmp_path).items()


def test_labels_and_indices_give_different_pictures() -> None:
    pictures = {render(label, index, size=(64, 64)).tobytes() for label in LABELS for index in range(3)}
    assert len(pictures) == 12


def test_a_picture_has_the_size_that_was_asked_for() -> None:
    assert render("plate", 0, size=(120, 90)).size == (120, 90)


def test_some_pictures_are_portraits_and_some_are_landscapes() -> None:
    sizes = [render("cutlery", index).size for index in range(8)]
    assert {width > height for width, height in sizes} == {True, False}
    assert all(200 <= side <= 400 for size in sizes for side in size)


def test_progress_is_called_once_for_each_file(tmp_path: Path) -> None:
    calls: list[int] = []
    write_sample(tmp_path, count=2, progress=lambda: calls.append(len(files_in(tmp_path))))
    assert calls == list(range(1, 9))


def test_an_interruption_leaves_whole_files_only_and_the_next_call_completes_them(tmp_path: Path) -> None:
    def stop_after_three() -> None:
        if len(files_in(tmp_path / "stopped")) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        write_sample(tmp_path / "stopped", count=2, progress=stop_after_three)
    write_sample(tmp_path / "whole", count=2)
    whole = files_in(tmp_path / "whole")
    assert len(files_in(tmp_path / "stopped")) == 3
    assert files_in(tmp_path / "stopped").items() < whole.items()
    write_sample(tmp_path / "stopped", count=2)
    assert files_in(tmp_path / "stopped") == whole


def test_what_a_killed_run_left_unfinished_does_not_stop_the_next(tmp_path: Path) -> None:
    (tmp_path / "cup").mkdir()
    (tmp_path / "cup" / ".cup-000.jpg.123.partial").write_bytes(b"half")
    write_sample(tmp_path, count=1)
    assert (tmp_path / "cup" / "cup-000.jpg").exists()


@pytest.mark.parametrize("name", ["notes.txt", "cup/holiday.jpg", "fork/fork-000.jpg", "cup/cup-001.jpg"])
def test_a_folder_with_anything_else_is_refused_by_name_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ForeignFolder, match=r"already holds .*: name a folder that is new or empty"):
        write_sample(tmp_path, count=1)
    assert files_in(tmp_path) == {name: b"mine"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample").write_bytes(b"mine")
    with pytest.raises(ForeignFolder, match="is a file: name a folder"):
        write_sample(tmp_path / "sample")


@pytest.mark.slow
def test_a_picture_takes_at_most_fifty_milliseconds_of_one_core() -> None:
    render("cup", 0)
    spent = []
    for index in range(5):
        for label in LABELS:
            start = time.process_time()
            render(label, index)
            spent.append(time.process_time() - start)
    assert np.median(spent) <= 0.05


@pytest.mark.slow
def test_colours_and_brightness_hardly_tell_the_labels_apart() -> None:
    pictures = [render(label, index, size=(96, 96)) for label in LABELS for index in range(40)]
    truth = np.repeat(LABELS, 40)
    guess = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    accuracy = cross_val_score(guess, [colour_statistics(picture) for picture in pictures], truth, cv=5).mean()
    assert accuracy < 0.45, "chance is 0.25"


def colour_statistics(picture: Image.Image) -> NDArray[np.float64]:
    """Mean and spread of each channel, and its histogram in eight bins."""
    channels = np.asarray(picture, dtype=np.float64).reshape(-1, 3)
    histograms = [np.histogram(channel, bins=8, range=(0, 256), density=True)[0] for channel in channels.T]
    return np.concatenate([channels.mean(axis=0), channels.std(axis=0), *histograms])
