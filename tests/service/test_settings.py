import re
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.settings import ELSEWHERE, Settings, read_settings

ROOT = Path(__file__).parents[2]


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
        ("SALVER_MAX_BODY_BYTES", "1" + "0" * 30, "SALVER_MAX_BODY_BYTES: "),
        ("SALVER_RATE_LIMIT_IMAGES_PER_SECOND", "nan", "SALVER_RATE_LIMIT_IMAGES_PER_SECOND: "),
        ("SALVER_RATE_LIMIT_IMAGES_PER_SECOND", "inf", "SALVER_RATE_LIMIT_IMAGES_PER_SECOND: "),
        ("SALVER_URL_TIMEOUT_SECONDS", "nan", "SALVER_URL_TIMEOUT_SECONDS: "),
        ("SALVER_DRAIN_SECONDS", "inf", "SALVER_DRAIN_SECONDS: "),
        ("SALVER_MODEL_POLL_SECONDS", "-1", "SALVER_MODEL_POLL_SECONDS: "),
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


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_the_variables_of_other_rooms_may_stand_in_the_same_environment(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "8001")
    assert read_settings().model == "model.onnx"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SALVER_KEYZ", "SALVER_KEY"),
        ("SALVER_GOGLE_KEY", "SALVER_GOOGLE_KEY"),
        ("SALVER_API_KEY", "SALVER_API_KEYS"),
        ("SALVER_POTR", "SALVER_PORT"),
    ],
)
def test_one_that_nobody_reads_is_refused_with_the_nearest_name_of_any_room(
    monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError, match=f"{name} is not a setting: did you mean {words}"):
        read_settings()


def test_every_variable_that_the_repository_names_is_a_setting_or_known_as_another_rooms() -> None:
    """So that a new one is forgotten in no room; tests may make some up."""
    rooms = ("salver", "training", "service", "loadtest", "tools", "k8s", "docs")
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file() and path.name != "CHANGELOG.md"]
    named = {
        name
        for path in files
        if path.suffix not in (".pyc", ".png", ".onnx")
        for name in re.findall(r"SALVER_[A-Z0-9_]*[A-Z0-9]\b(?!_)", path.read_text(encoding="utf-8", errors="ignore"))
    }
    settings = {f"SALVER_{field.upper()}" for field in Settings.model_fields}
    assert named - settings - ELSEWHERE == set()
    former = {"SALVER_GOOGLE_ENGINE", "SALVER_GOOGLE_KEY"}
    assert ELSEWHERE - named == {"SALVER_TEST_ARTEFACTS"} | former
    assert ELSEWHERE & settings == set()
