from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.errors import ScoringError, SettingsError
from service.keys import KeyFile, Keys, read_admin_keys, read_keys
from service.settings import Settings
from tests.live import running_service
from tests.models import probe


def settings(**values: object) -> Settings:
    return Settings.model_validate({"model": "model.onnx", **values})


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(probe(tmp_path_factory.mktemp("model") / "model.onnx"), api_keys="one,zwei") as client:
        yield client


@pytest.mark.parametrize("header", [None, "Basic x", "Bearer", "Bearer wrong", "Bearer one two", "one", "Bearer Ã©"])
def test_a_request_without_the_right_key_is_refused_in_one_form(locked: httpx.Client, header: str | None) -> None:
    """RQ12."""
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
    """RQ12."""
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


class Rotated:
    """A key file of which a second passes before each look."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.keys = Keys([], KeyFile("SALVER_API_KEYS_FILE", path, self.clock))

    def accepts(self, key: str) -> bool:
        self.clock.seconds += 1
        return accepts(self.keys, key)


def accepts(keys: Keys, key: str) -> bool:
    try:
        keys.check(f"Bearer {key}".encode())
    except ScoringError:
        return False
    return True


def test_a_key_file_that_changes_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "keys"
    path.write_text("old\n")
    rotated = Rotated(path)
    assert rotated.accepts("old")
    path.write_text("old\nnew\n")
    assert rotated.accepts("old")
    assert rotated.accepts("new")
    path.write_text("new\n")
    assert not rotated.accepts("old")
    assert rotated.accepts("new")
    assert [record.message for record in caplog.records] == [
        "SALVER_API_KEYS_FILE was read again: 2 keys",
        "SALVER_API_KEYS_FILE was read again: 1 keys",
    ]


def test_a_key_file_is_looked_at_once_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("old")
    clock = Clock()
    keys = Keys([], KeyFile("SALVER_API_KEYS_FILE", path, clock))
    path.write_text("new")
    clock.seconds += 0.9
    assert accepts(keys, "old")
    clock.seconds += 0.1
    assert accepts(keys, "new")
    assert not accepts(keys, "old")


def test_a_secret_that_kubernetes_swaps_by_its_link_is_read_again(tmp_path: Path) -> None:
    """Kubernetes: keys -> ..data/keys, ..data -> ..2026_1, and a rename turns ..data to another folder."""
    for folder, key in (("..2026_1", "old"), ("..2026_2", "new")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "keys").write_text(key)
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "keys").symlink_to("..data/keys")
    rotated = Rotated(tmp_path / "keys")
    assert rotated.accepts("old")
    (tmp_path / "..next").symlink_to("..2026_2")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert rotated.accepts("new")
    assert not rotated.accepts("old")


def test_while_a_key_file_holds_none_the_keys_before_are_valid_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    path.write_text("old")
    rotated = Rotated(path)
    for content in (b"", b"\n\n", b"\xff\xfe"):
        path.write_bytes(content)
        assert [rotated.accepts("old") for _ in range(3)] == [True] * 3
    path.unlink()
    assert [rotated.accepts("old") for _ in range(3)] == [True] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    for record, words in zip(caplog.records, ("holds no key", "can't decode", "No such file"), strict=True):
        assert words in record.message
        assert record.message.endswith("The keys before stay valid.")
    path.write_text("new")
    assert rotated.accepts("new")
    assert not rotated.accepts("old")


def test_a_key_is_rotated_without_a_failed_request(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("old")
    with running_service(probe(tmp_path / "model.onnx"), api_keys_file=path) as client:

        def status(key: str) -> int:
            return client.get("/model", headers={"Authorization": f"Bearer {key}"}).status_code

        path.write_text("old\nnew")
        while status("new") != 200:
            assert status("old") == 200
        path.write_text("new")
        while status("old") != 401:
            assert status("new") == 200
