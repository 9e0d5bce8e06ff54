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


def test_a_link_stays_and_leads_to_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    for text in ("one", "two"):
        with durable(tmp_path / "link") as partial:
            partial.write_text(text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there" / "file").read_text() == text


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    """Whoever may write to /dev, as root in a container, would lose /dev/full to `--result /dev/full`."""
    (tmp_path / "link").symlink_to("/dev/null")
    with pytest.raises(OSError, match="It is a device") as caught, durable(tmp_path / "link") as partial:
        partial.write_text("x")
    assert caught.value.filename == str(tmp_path / "link")
    assert Path("/dev/null").is_char_device()
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
