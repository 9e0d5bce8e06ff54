import pytest

from service.errors import SettingsError
from service.settings import read_settings


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_MODEL", "model.onnx")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_MAX_ITEMS", "3")
    monkeypatch.setenv("SALVER_URL_ALLOWLIST", "images.example, 10.1.0.0/16")
    settings = read_settings()
    assert (settings.model, settings.max_items) == ("model.onnx", 3)
    assert settings.allowed_hosts == ("images.example", "10.1.0.0/16")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SALVER_MAX_ITEM", "3", "SALVER_MAX_ITEM is not a setting: did you mean SALVER_MAX_ITEMS"),
        ("SALVER_PORT_8000_TCP", "tcp://10.0.0.1", "enableServiceLinks"),
        ("SALVER_MAX_ITEMS", "many", "SALVER_MAX_ITEMS: "),
        ("SALVER_MAX_ITEMS", "0", "SALVER_MAX_ITEMS: "),
        ("SALVER_DEVICE", "gpu", "SALVER_DEVICE: "),
        ("SALVER_MODEL_NAME", "cups/2", "SALVER_MODEL_NAME: "),
        ("SALVER_MAX_IMAGE_PIXELS", "200000000", "SALVER_MAX_IMAGE_PIXELS: "),
        ("SALVER_URL_ALLOWLIST", "10.0.0.0/99", "SALVER_URL_ALLOWLIST: "),
        ("SALVER_MAX_QUEUE_IMAGES", "5", "MAX_QUEUE_IMAGES (5) is less than MAX_ITEMS (64)"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALVER_MODEL")
    with pytest.raises(SettingsError, match="SALVER_MODEL: "):
        read_settings()


def test_the_clients_key_may_stand_in_the_same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_KEY", "one")
    assert read_settings().model == "model.onnx"
