import threading
from pathlib import Path

import pytest

from salver.system.durable import PARTIALS, durable


def test_threads_that_write_one_path_at_once_leave_one_of_their_texts_whole(tmp_path: Path) -> None:
    path, failed = tmp_path / "kept" / "file.txt", []

    def write(letter: str) -> None:
        for _ in range(40):
            try:
                with durable(path) as partial:
                    partial.write_text(letter * 5000)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert path.read_text() in {letter * 5000 for letter in "abcd"}
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_was_there_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")

    def tear() -> None:
        with durable(path) as partial:
            partial.write_text("half")
            assert partial.match(PARTIALS)
            raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        tear()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_is_that_of_any_new_file_and_a_long_name_has_room(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    path = tmp_path / ("n" * 255)
    with durable(path) as partial:
        partial.write_text("x")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
