import asyncio
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from typing_extensions import override

from service.errors import ScoringError, SettingsError
from service.limits.key_file import LOOK_SECONDS, SETTLE_SECONDS, KeyFile
from service.limits.request import Keys, read_admin_keys, read_keys
from service.settings import Settings
from tests.support.live import running_service
from tests.support.models import probe
from tests.support.surroundings import no_descriptors_left

pytestmark = pytest.mark.server


def settings(**values: object) -> Settings:
    return Settings.model_validate({"model": "model.onnx", **values})


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(probe(tmp_path_factory.mktemp("model") / "model.onnx"), api_keys="one,zwei") as client:
        yield client


@pytest.mark.parametrize("header", [None, "Basic x", "Bearer", "Bearer wrong", "Bearer one two", "one", "Bearer Ã©"])
def test_a_request_without_the_right_key_is_refused_in_one_form(locked: httpx.Client, header: str | None) -> None:
    headers = httpx.Headers({} if header is None else {b"Authorization": header.encode()})
    answers = [locked.post("/score", json=[], headers=headers), locked.get("/model", headers=headers)]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json() == {
            "type": "urn:salver:unauthorised",
            "title": "A valid key is needed",
            "detail": "Send the header 'Authorization: Bearer KEY' with a key of this service.",
            "status": 401,
        }


def test_each_key_is_accepted_whatever_the_case_of_the_scheme_and_probes_need_none(tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx"), api_keys="one, schlüssel") as client:
        for header in ("Bearer one", "bearer one", "BEARER schlüssel"):
            assert client.get("/model", headers=httpx.Headers({b"Authorization": header.encode()})).status_code == 200
        for path in ("/healthz", "/readyz"):
            assert client.get(path).status_code == 200


def test_a_key_file_may_end_in_a_newline_and_hold_several_keys(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\n\ntwo \n")
    keys = read_keys(settings(api_keys_file=tmp_path / "keys"))
    keys.check(b"Bearer one")
    keys.check(b"Bearer two")
    assert keys


def test_a_key_file_from_windows_is_read_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    keys = read_keys(settings(api_keys_file=tmp_path / "keys"))
    assert keys.check(b"Bearer one") != keys.check(b"Bearer two")


@pytest.mark.parametrize("content", ["", "\n", "  \n\n"])
def test_a_key_setting_that_holds_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(SettingsError, match=r"SALVER_API_KEYS_FILE .* holds no key"):
        read_keys(settings(api_keys_file=tmp_path / "keys"))
    with pytest.raises(SettingsError, match="SALVER_API_KEYS holds no key"):
        read_keys(settings(api_keys=content.replace("\n", ",")))
    with pytest.raises(SettingsError, match="SALVER_ADMIN_KEYS holds no key"):
        read_admin_keys(settings(admin_keys=content.replace("\n", ",")))


def test_a_key_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SALVER_API_KEYS_FILE cannot be read: .*absent"):
        read_keys(settings(api_keys_file=tmp_path / "absent"))


def test_the_2018_header_of_another_product_is_of_no_account(locked: httpx.Client) -> None:
    headers = httpx.Headers({"Authorization": "Bearer one", "X-Marathon-App-Id": ""})
    assert locked.get("/model", headers=headers).status_code == 200


class Clock:
    """Time that passes when told."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Watched:
    """A key file that is looked at when it asks to be, and the time that passes meanwhile."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.file = KeyFile("SALVER_API_KEYS_FILE", path, self.clock)
        self.keys = Keys([], self.file)
        self.next_look = LOOK_SECONDS

    def after(self, seconds: float) -> None:
        """Let time pass, with the looks in it."""
        end = self.clock.seconds + seconds
        while self.next_look <= end:
            self.clock.seconds = self.next_look
            self.next_look += self.file.look()
        self.clock.seconds = end

    def accepts(self, *keys: str) -> list[bool]:
        return [accepts(self.keys, key) for key in keys]


def accepts(keys: Keys, key: str) -> bool:
    try:
        keys.check(f"Bearer {key}".encode())
    except ScoringError:
        return False
    return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "keys").write_text("old\n")
    return tmp_path / "keys"


def test_a_key_file_that_changes_is_in_force_within_about_a_second(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    watched = Watched(path)
    for content, keys in (("old\nnew\n", [True, True]), ("new\n", [False, True])):
        before = watched.accepts("old", "new")
        path.write_text(content)
        watched.after(SETTLE_SECONDS - 0.01)
        assert watched.accepts("old", "new") == before
        watched.after(1.1 - SETTLE_SECONDS)
        assert watched.accepts("old", "new") == keys
    assert [record.message for record in caplog.records if record.levelname == "INFO"] == [
        "SALVER_API_KEYS_FILE was read again: 2 keys",
        "SALVER_API_KEYS_FILE was read again: 1 key",
    ]


def over(path: Path, content: str) -> None:
    """As `cp -p`, `tar` and images with fixed times do: in place, of the same length, with the time of before."""
    before = path.stat()
    with path.open("r+") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def test_a_key_file_written_over_with_the_same_length_and_time_is_noticed(path: Path) -> None:
    watched = Watched(path)
    over(path, "new\n")
    watched.after(1.1)
    assert watched.accepts("old", "new") == [False, True]


@pytest.mark.parametrize("whole", ["first-key-of-all\ngood", "good-old-key\ngood\n"])
@pytest.mark.parametrize("pause", [0.05, 0.3, 0.45])
def test_no_part_of_a_key_is_a_key_and_none_is_refused_while_its_file_is_written(
    path: Path, whole: str, pause: float
) -> None:
    path.write_text("old\ngood\n")
    for cut in range(len(whole)):
        path.write_text("old\ngood\n")
        watched = Watched(path)
        pieces = [whole[:cut].splitlines()[-1:], "g", "go", "goo"]
        for content in ("", whole[:cut]):  # truncated, and then in two halves
            path.write_text(content)
            watched.after(pause)
            assert watched.accepts("good", "old", "g", "goo") == [True, True, False, False], pieces
        path.write_text(whole)
        for _ in range(11):
            watched.after(0.1)
            assert watched.accepts("good", "g", "goo") == [True, False, False]
        assert watched.accepts("old") == [False]


def test_a_file_that_changes_at_every_look_is_taken_once_it_keeps_still(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(path)
    for number in range(80):
        path.write_text(f"key{number}")
        watched.after(0.1)
    assert watched.accepts("old", "key79") == [True, False]
    (line,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert line.endswith("is written to all the time. The keys before stay valid.")
    watched.after(1.1)
    assert watched.accepts("old", "key79") == [False, True]
    assert watched.file.freshness.fault == ""


def test_a_secret_that_kubernetes_swaps_by_its_link_is_followed_many_times_in_a_row(tmp_path: Path) -> None:
    """Kubernetes: keys -> ..data/keys, ..data -> ..2026_1, and a rename turns ..data to another folder."""

    def swap(number: int) -> None:
        folder = tmp_path / f"..2026_{number}"
        folder.mkdir()
        (folder / "keys").write_text(f"key{number:02}")
        os.utime(folder / "keys", (0, 0))
        (tmp_path / "..data_tmp").symlink_to(folder.name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    swap(0)
    (tmp_path / "keys").symlink_to("..data/keys")
    watched = Watched(tmp_path / "keys")
    for number in range(1, 40):
        swap(number)
        shutil.rmtree(tmp_path / f"..2026_{number - 1}")
        assert watched.accepts(f"key{number - 1:02}") == [True]
        watched.after(1.1)
        assert watched.accepts(f"key{number - 1:02}", f"key{number:02}") == [False, True]


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "holds no key"),
    "blank": (lambda path: path.write_bytes(b"\n \n\t\n"), "holds no key"),
    "comments only": (lambda path: path.write_bytes(b"# one\n  # two\n"), "holds no key"),
    "not text": (lambda path: path.write_bytes(b"\xff\xfe"), "not text in UTF-8"),
    "away": (Path.unlink, "No such file"),
    "a folder": (folder, "a folder, not a file"),
    "a pipe": (pipe, "a pipe, not a file"),
    "a link to itself": (loop, "symbolic links"),
    "endless": (lambda path: os.truncate(path, 2**40), "the limit is 1,048,576 bytes"),
}


@pytest.mark.parametrize(("spoil", "words"), FAULTS.values(), ids=FAULTS)
def test_while_a_key_file_holds_none_the_keys_before_are_valid_and_the_log_says_so_once(
    path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], words: str
) -> None:
    watched = Watched(path)
    spoil(path)
    for _ in range(30):
        watched.after(0.1)
        assert watched.accepts("old", "", "# one") == [True, False, False]
    (line,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert words in line
    assert line.endswith("The keys before stay valid.")
    assert watched.file.freshness.fault
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_text("new")
    watched.after(1.1)
    assert watched.accepts("old", "new") == [False, True]
    assert not watched.file.freshness.fault


@pytest.mark.parametrize(("spoil", "words"), FAULTS.values(), ids=FAULTS)
def test_a_key_file_that_cannot_be_used_at_the_start_is_refused_at_once(
    path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(path)
    with pytest.raises(SettingsError, match=f"SALVER_API_KEYS_FILE.*{words}"):
        read_keys(settings(api_keys_file=path))


def test_a_file_that_was_away_and_is_the_same_again_is_no_fault(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    watched = Watched(path)
    path.rename(path.with_name("aside"))
    watched.after(2)
    path.with_name("aside").rename(path)
    watched.after(LOOK_SECONDS)
    assert watched.accepts("old") == [True]
    assert not watched.file.freshness.fault
    assert caplog.records[-1].message == "SALVER_API_KEYS_FILE holds what is in force again"


def test_a_key_file_rotated_while_descriptors_are_used_up_is_read_when_they_are_back(path: Path) -> None:
    watched = Watched(path)
    path.write_text("new")
    with no_descriptors_left():
        watched.after(3)
        assert watched.accepts("old", "new") == [True, False]
        assert "Too many open files" in watched.file.freshness.fault
    watched.after(1.1)
    assert watched.accepts("old", "new") == [False, True]


def test_comments_blank_lines_and_line_ends_of_every_system_are_no_keys(path: Path) -> None:
    path.write_bytes("\ufeff# of March\r\n\r\n one-key \r  # two\n\tzwei\u2028\x1cdrei\n".encode())
    keys = read_keys(settings(api_keys_file=path))
    for key in ("one-key", "zwei\u2028\x1cdrei"):
        assert accepts(keys, key)
    for key in ("# of March", "# two", "#", "", " ", "zwei", "drei", "\ufeff# of March"):
        assert not accepts(keys, key)


def test_a_key_that_begins_with_the_comments_sign_goes_into_the_variable(path: Path) -> None:
    path.write_text("#secret\nother")
    assert not accepts(read_keys(settings(api_keys_file=path)), "#secret")
    assert accepts(read_keys(settings(api_keys="#secret")), "#secret")


def test_a_short_key_is_warned_of_and_accepted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("short\n0123456789abcdef\n")
    assert accepts(read_keys(settings(api_keys_file=path)), "short")
    (line,) = [record.message for record in caplog.records]
    assert line == f"SALVER_API_KEYS_FILE ({path}) has 1 key of fewer than 16 characters: easily guessed"


def test_a_file_on_a_disk_that_does_not_answer_holds_up_nothing_and_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate, begun = threading.Event(), threading.Event()

    class Hung(KeyFile):
        """Its looks last until the gate is opened."""

        @override
        def look(self) -> float:
            begun.set()
            gate.wait()
            return super().look()

    monkeypatch.setattr("service.limits.key_file.PATIENCE_SECONDS", 0.1)
    file = Hung("SALVER_API_KEYS_FILE", path)

    def until(fault: bool) -> None:
        while bool(file.freshness.fault) != fault:
            time.sleep(0.01)

    async def watch() -> None:
        watching = asyncio.create_task(file.watch())
        assert await asyncio.to_thread(begun.wait, 10)
        await asyncio.to_thread(until, fault=True)
        assert accepts(Keys([], file), "old")
        gate.set()
        await asyncio.to_thread(until, fault=False)
        watching.cancel()

    asyncio.run(asyncio.wait_for(watch(), 20))
    assert "does not answer" in caplog.text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_key_is_rotated_without_a_failed_request(path: Path, tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx"), api_keys_file=path) as client:

        def status(key: str) -> int:
            return client.get("/model", headers=bearer(key)).status_code

        path.write_text("old\nnew")
        while status("new") != 200:
            assert status("old") == 200
        path.write_text("new")
        while status("old") != 401:
            assert status("new") == 200


def test_an_admin_key_is_rotated_like_any_other(path: Path, tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx"), admin_keys_file=path) as client:

        def status(key: str) -> int:
            return client.post("/model/reload", headers=bearer(key)).status_code

        assert status("old") == 200
        over(path, "new\n")
        begun = time.monotonic()
        while status("new") != 200:
            assert time.monotonic() - begun < 10
        assert status("old") == 401


def rewrite(path: Path, number: int, pause: float) -> None:
    """One of the ways in which a key file is changed, each with a moment in which it does not hold the good key."""
    whole = f"first-{number:03}\ngood"
    match number % 5:
        case 0:
            path.write_text(whole[:9])
            time.sleep(pause)
            path.write_text(whole)
        case 1:
            path.write_text("")
            time.sleep(pause)
            path.write_text(whole[:-2])
            time.sleep(pause)
            path.write_text(whole)
        case 2:
            path.unlink()
            time.sleep(0.5)
            path.write_text(whole)
        case 3:
            path.unlink()
            path.mkdir()
            time.sleep(0.5)
            path.rmdir()
            path.write_text(whole)
        case _:
            path.with_name("next").write_text(whole)
            path.with_name("next").replace(path)
    time.sleep(0.1)


@pytest.mark.parametrize(
    ("rounds", "pause"), [(5, 0.15), pytest.param(50, 0.3, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]
)
def test_a_key_that_stands_before_and_after_is_never_refused(
    path: Path, tmp_path: Path, rounds: int, pause: float
) -> None:
    path.write_text("before\ngood")
    ended = threading.Event()

    def rewrite_all() -> None:
        for number in range(rounds):
            rewrite(path, number, pause)
        ended.set()

    with running_service(probe(tmp_path / "model.onnx"), api_keys_file=path) as client:
        writer = threading.Thread(target=rewrite_all)
        writer.start()
        statuses: Counter[tuple[str, int]] = Counter()
        while not ended.wait(0.02):
            for key in ("good", "g", "goo", "first"):
                statuses[key, client.get("/model", headers=bearer(key)).status_code] += 1
        writer.join()
        end = time.monotonic() + 10
        while client.get("/model", headers=bearer(f"first-{rounds - 1:03}")).status_code != 200:
            assert time.monotonic() < end
    assert set(statuses) == {("good", 200), ("g", 401), ("goo", 401), ("first", 401)}
