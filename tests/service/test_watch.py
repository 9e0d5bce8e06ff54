import os
from pathlib import Path

import fsspec
import pytest

from service.watch import Watch, signature


def test_a_file_that_changed_is_to_be_read_once_it_kept_still_for_two_looks() -> None:
    watch = Watch("a")
    looks = ["a", "a", "b", "c", "c", "c", "c", "a", "a", "a"]
    assert [watch.settled(look) for look in looks] == [
        *(False, False, False, False, True, False, False),
        *(False, True, False),
    ]


def test_a_change_between_start_and_the_first_look_is_seen() -> None:
    watch = Watch("a")
    assert [watch.settled(look) for look in ("b", "b")] == [False, True]


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
