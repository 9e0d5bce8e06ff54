import os
import threading
from collections.abc import Hashable
from pathlib import Path

import fsspec
import pytest

from service.scoring.watch import AGAIN_SECONDS, Watch, signature


class Clock:
    """Time that passes when told."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def looked(watch: Watch, *signatures: Hashable) -> list[bool]:
    """Whether the file was due at each look; it can be read each time."""
    found = []
    for look in signatures:
        found.append(watch.due(look))
        if found[-1]:
            watch.done(look)
    return found


def test_a_file_that_changed_is_to_be_read_once_it_kept_still_for_two_looks() -> None:
    assert looked(Watch("a"), *"aabccccaaa") == [
        *(False, False, False, False, True, False, False),
        *(False, True, False),
    ]


def test_a_change_between_start_and_the_first_look_is_seen() -> None:
    assert looked(Watch("a"), "b", "b") == [False, True]


def test_a_file_that_could_not_be_read_is_to_be_read_until_it_was() -> None:
    watch = Watch("a")
    assert [watch.due("b") for _ in range(4)] == [False, True, True, True]
    watch.failed()
    assert watch.due("b")
    assert [watch.due("a"), watch.due("a")] == [False, True]  # as it was before, and yet nobody knows
    watch.done("a")
    assert not watch.due("a")


def test_a_local_file_is_read_a_second_time_because_disks_tell_time_by_two_seconds(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    (tmp_path / "two").write_bytes(b"two")
    one, two = (signature(str(tmp_path / name)) for name in ("one", "two"))
    clock = Clock()
    watch = Watch(one, clock)
    for state in (one, two):
        looked(watch, state, state)
        clock.seconds += AGAIN_SECONDS - 0.1
        assert looked(watch, state, state) == [False, False]
        clock.seconds += 0.2
        assert looked(watch, state, state) == [True, False]
        clock.seconds += 1000
        assert looked(watch, state, state) == [False, False]
    clock.seconds += 1000
    assert looked(Watch("an ETag", clock), "an ETag", "an ETag") == [False, False]


def test_the_signature_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    signatures = [signature(str(path)), signature(path.as_uri())]
    assert signatures[0] == signatures[1]
    path.write_bytes(b"three")
    signatures.append(signature(str(path)))
    (tmp_path / "new").write_bytes(b"seven")
    os.utime(tmp_path / "new", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "new").rename(path)  # of the same length and time
    signatures.append(signature(str(path)))
    assert len(set(signatures)) == 3


def test_a_file_written_over_with_the_same_length_and_time_has_another_signature(tmp_path: Path) -> None:
    """As `cp -p`, `tar` and images with fixed times do; of 2,000 tries on Linux 6.18 none looked the same."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    for content in (b"two", b"six") * 20:
        before, stat = signature(str(path)), path.stat()
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        after = path.stat()
        assert (after.st_size, after.st_mtime_ns, after.st_ino) == (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        if signature(str(path)) == before:  # kernels before 6.13 count changes by their tick
            threading.Event().wait(0.02)
            path.chmod(0o644)
        assert signature(str(path)) != before


def test_the_signature_is_that_of_what_a_link_points_to(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).write_bytes(b"same length")
    link = tmp_path / "model.onnx"
    link.symlink_to("1")
    before = signature(str(link))
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").rename(link)
    assert signature(str(link)) != before


def test_elsewhere_the_signature_is_what_the_store_tells() -> None:
    with fsspec.open("memory://watched/model.onnx", "wb") as file:
        file.write(b"one")
    before = signature("memory://watched/model.onnx")
    assert signature("memory://watched/model.onnx") == before
    with fsspec.open("memory://watched/model.onnx", "wb") as file:
        file.write(b"two")
    assert signature("memory://watched/model.onnx") != before


def test_a_file_that_is_not_there_has_none(tmp_path: Path) -> None:
    for location in (str(tmp_path / "absent"), "memory://absent"):
        with pytest.raises(FileNotFoundError):
            signature(location)
