import contextlib
import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from salver.system.regular_file import MAX_BYTES, open_regular, read_regular


def test_a_file_and_a_link_to_one_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x" * 70_000)
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "empty.jpg").touch()
    assert read_regular(tmp_path / "a.jpg") == read_regular(tmp_path / "b.jpg") == b"x" * 70_000
    assert read_regular(tmp_path / "empty.jpg") == b""
    assert read_regular("/proc/self/status").startswith(b"Name:")  # files of /proc say that they are empty


def test_what_is_no_file_is_refused_at_once_and_says_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        for name, what in (("pipe", "a pipe"), ("folder", "a folder"), ("zero", "a device"), ("socket", "a socket")):
            with pytest.raises(OSError, match=what) as caught:
                read_regular(tmp_path / f"{name}.jpg")
            assert caught.value.filename == str(tmp_path / f"{name}.jpg")


def test_a_file_that_is_too_large_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as stream:
        stream.truncate(30 * 1024**3)
    with pytest.raises(OSError, match=r"It has 32,212,254,720 bytes; the limit is 20,971,520 bytes") as caught:
        read_regular(tmp_path / "sparse.jpg")
    assert caught.value.errno == errno.EFBIG
    (tmp_path / "largest.jpg").write_bytes(bytes(MAX_BYTES))
    assert len(read_regular(tmp_path / "largest.jpg")) == MAX_BYTES


def test_a_file_that_grows_while_it_is_read_stays_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "grows.jpg"
    path.write_bytes(b"x")
    done = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as stream:
            while not done.is_set() and stream.tell() < 2**24:
                stream.write(b"x" * 4096)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):  # it has grown beyond
                assert len(read_regular(path, 100_000)) <= 100_000
    finally:
        done.set()
        writer.join()


def test_what_was_opened_is_read_though_its_name_leads_to_a_pipe_by_then(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    with open_regular(path) as stream:
        path.unlink()
        os.mkfifo(path)
        assert stream.read() == b"photo"
