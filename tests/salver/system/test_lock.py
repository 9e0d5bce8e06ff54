import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from salver.system.lock import Holder, Taken, locked

HOLD = """
import sys, pathlib, time
from salver.system.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_lock_is_gone_when_its_holder_lets_go_after_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(3):
        with contextlib.suppress(ValueError), locked(path):
            assert json.loads(path.read_text())["pid"] == os.getpid()
            raise ValueError
        assert not path.exists()


def test_who_has_it_is_named_with_pid_and_host(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as other:
        with pytest.raises(Taken) as caught, locked(path):
            pass
        assert caught.value.who == f"process {other.pid} on {Holder.here().host}"
        assert caught.value.advice == "Wait until it has ended, or end it."
        assert path.exists()


def test_within_one_process_too_it_is_held_once(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"), pytest.raises(Taken, match=f"process {os.getpid()} "), locked(tmp_path / "lock"):
        pass


def test_what_a_killed_holder_leaves_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert json.loads(path.read_text())["pid"] == other.pid
        with locked(path):
            assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_of_many_that_come_at_once_one_at_a_time_gets_in(tmp_path: Path) -> None:
    """Each with what a killed holder left, and each removing the file as it leaves."""
    path, inside, most, entries = tmp_path / "lock", 0, 0, 0
    path.write_text(Holder.here().model_copy(update={"pid": 999_999}).model_dump_json())
    guard = threading.Lock()

    def enter() -> None:
        nonlocal inside, most, entries
        for _ in range(100):
            with contextlib.suppress(Taken), locked(path):
                with guard:
                    inside += 1
                    entries += 1
                    most = max(most, inside)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert entries > 10
    assert not path.exists()


def test_the_lock_of_another_machine_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(Holder(pid=7, host="node-b\x1b[2J", boot="another").model_dump_json())
    named = r"process 7 on node-b\\x1b\[2J.*another machine.*remove .*/lock and start again"
    with pytest.raises(Taken, match=named), locked(path):
        pass
    path.unlink()
    with locked(path):
        pass


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b'{"pid": 7, "ho',
        b"\xff\xfe\x00",
        b'{"pid": -1, "host": "a", "boot": ""}',
        b"[" * 100_000,
        b'{"pid": 7, "host": "HERE", "boot": "before it started again"}',
        b'{"pid": 7, "host": "a container", "boot": "BOOT"}',
    ],
    ids=["empty", "torn", "binary", "impossible", "nested", "rebooted", "container"],
)
def test_a_file_that_nobody_holds_is_taken_over_whatever_it_says(tmp_path: Path, left: bytes) -> None:
    here = Holder.here()
    (tmp_path / "lock").write_bytes(left.replace(b"HERE", here.host.encode()).replace(b"BOOT", here.boot.encode()))
    with locked(tmp_path / "lock"):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_what_is_no_file_in_its_place_is_an_error_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(OSError, match=name), locked(tmp_path / name):
            pass
    assert not (tmp_path / "elsewhere").exists()
