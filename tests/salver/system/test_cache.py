"""A cache saves time and is never needed: whatever happens to its file costs only what it held."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from salver.system import cache as module
from salver.system.cache import Cache


def test_values_are_there_the_next_time(tmp_path: Path) -> None:
    values = {str(number).encode(): bytes([number % 256]) for number in range(1200)}
    with Cache(tmp_path / "new" / "a.sqlite") as cache:
        cache.put(values)
        assert cache.lasts
    with Cache(tmp_path / "new" / "a.sqlite") as cache:
        assert cache.get([*values, b"unknown"]) == values
        cache.put({b"1": b"other"})
        assert cache.get([b"1"]) == {b"1": b"other"}


def test_a_file_that_has_grown_too_large_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cache(tmp_path / "a.sqlite") as cache:
        cache.put({b"old": b"1"})
    monkeypatch.setattr(module, "LIMIT_BYTES", 1)
    with Cache(tmp_path / "a.sqlite") as cache:
        cache.put({b"new": b"2"})
        assert cache.get([b"old", b"new"]) == {b"new": b"2"}


def test_what_nobody_has_kept_for_half_a_year_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for days, key in ((181, b"old"), (179, b"new")):
        monkeypatch.setattr(time, "time", lambda days=days: now - days * 86400)
        with Cache(tmp_path / "a.sqlite") as cache:
            cache.put({key: b""})
    monkeypatch.undo()
    with Cache(tmp_path / "a.sqlite") as cache:
        assert cache.get([b"old", b"new"]) == {b"new": b""}


@pytest.mark.parametrize("state", ["no database", "a folder", "a file in the way"])
def test_where_no_file_can_be_it_remembers_for_its_own_life(tmp_path: Path, state: str) -> None:
    path = tmp_path / "cache" / "a.sqlite"
    if state == "a file in the way":
        path.parent.write_text("")
    elif state == "a folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.write_bytes(b"not a database" * 100)
    with Cache(path) as cache:
        assert not cache.lasts
        cache.put({b"a": b"1"})
        assert cache.get([b"a"]) == {b"a": b"1"}


def test_a_disk_that_fails_later_is_told_and_costs_only_what_it_would_have_kept(tmp_path: Path) -> None:
    with Cache(tmp_path / "a.sqlite") as cache:
        with sqlite3.connect(tmp_path / "a.sqlite") as other:
            other.execute("DROP TABLE kept")
        cache.put({b"a": b"1"})
        assert not cache.lasts
        assert cache.get([b"a"]) == {}


def test_threads_share_one(tmp_path: Path) -> None:
    with Cache(tmp_path / "a.sqlite") as cache, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: cache.put({b"%d" % number: b""}), range(200)))
        assert len(cache.get([b"%d" % number for number in range(200)])) == 200
