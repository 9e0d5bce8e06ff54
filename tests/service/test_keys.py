from pathlib import Path

import httpx
import pytest

from service.errors import SettingsError
from service.keys import read_keys
from service.settings import Settings
from tests.live import running_service
from tests.models import probe


def settings(**values: object) -> Settings:
    return Settings.model_validate({"model": "model.onnx", **values})


@pytest.mark.parametrize("header", [None, "Basic x", "Bearer", "Bearer wrong", "Bearer one two", "one", "Bearer Ã©"])
def test_a_request_without_the_right_key_is_refused_in_one_form(tmp_path: Path, header: str | None) -> None:
    """RQ12."""
    with running_service(probe(tmp_path / "model.onnx"), api_keys="one,zwei") as client:
        headers = httpx.Headers({} if header is None else {b"Authorization": header.encode()})
        answers = [client.post("/score", json=[], headers=headers), client.get("/model", headers=headers)]
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


@pytest.mark.parametrize("content", ["", "\n", "  \n\n"])
def test_a_key_setting_that_holds_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(SettingsError, match=r"SALVER_API_KEYS_FILE .* holds no key"):
        read_keys(settings(api_keys_file=tmp_path / "keys"))
    with pytest.raises(SettingsError, match="SALVER_API_KEYS holds no key"):
        read_keys(settings(api_keys=content.replace("\n", ",")))


def test_a_key_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SALVER_API_KEYS_FILE cannot be read: .*absent"):
        read_keys(settings(api_keys_file=tmp_path / "absent"))


def test_the_2018_header_of_another_product_is_of_no_account(tmp_path: Path) -> None:
    with running_service(probe(tmp_path / "model.onnx"), api_keys="one") as client:
        headers = httpx.Headers({"Authorization": "Bearer one", "X-Marathon-App-Id": ""})
        assert client.get("/model", headers=headers).status_code == 200
