"""What a deployment's service is given of the caller's environment."""

from pathlib import Path

import pytest

from salver.client.errors import RequestRefused
from salver.deployment.deployment import Deployment, TargetName
from salver.deployment.settings import HANDED_ON, OWN, PATHS, PREFIX, handed_on, left_out
from tests.salver.deployment.processes import environment_of, services
from tests.support.images import photo
from tests.support.models import probe

ALL = HANDED_ON | PATHS | OWN.keys()
OTHERS = {"SALVER_KEY": "k", "SALVER_GOOGLE_KEY": "g", "SALVER_GOOGLE_ENGINE": "e", "SALVER_PORT": "tcp://10.0.0.1:80"}


@pytest.mark.parametrize("target", ["local", "docker", "kubernetes"])
def test_a_setting_is_handed_on_or_said_and_nothing_of_other_rooms_is_either(target: TargetName) -> None:
    environment = OTHERS | {PREFIX + name: "secret" for name in ALL}
    given = handed_on(environment, target)
    said = list(left_out(environment, target))
    assert {"local": HANDED_ON | PATHS, "docker": HANDED_ON, "kubernetes": frozenset()}[target] == {
        name.removeprefix(PREFIX) for name in given
    }
    assert len(said) + len(given) == len(ALL)
    assert not any(name + " " in sentence for sentence in said for name in [*OTHERS, *given])
    assert "secret" not in "".join(said)


def test_a_misspelt_setting_is_said_with_the_right_name() -> None:
    (said,) = left_out({"SALVER_MAX_ITEM": "1", "HOME": "/"}, "local")
    assert said.endswith("it is no setting; did you mean SALVER_MAX_ITEMS?")
    assert list(left_out({"salver_max_items": "1"}, "local")) == [
        "salver_max_items is not handed on to the service: write it in capitals"
    ]
    assert list(left_out({}, "local")) == []


@pytest.fixture(params=["local", "docker"])
def target(request: pytest.FixtureRequest, engine: Path) -> TargetName:
    found: TargetName = request.param
    return found


@pytest.mark.server
@pytest.mark.slow
def test_a_service_has_the_callers_settings_and_none_of_other_rooms(
    target: TargetName, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other rooms' variables, and keys for another service, neither stop it nor reach it."""
    settings = {"SALVER_MAX_ITEMS": "1", "SALVER_ADMIN_KEYS": "an-admin-key-of-length", "SALVER_DRAIN_SECONDS": "500"}
    for name, value in {**OTHERS, **settings, "SALVER_API_KEYS": "another-services-key", "SALVER_API_KEY": "x"}.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []
    (tmp_path / "a.jpg").write_bytes(photo(48, 40))
    deployment = Deployment("one", probe(tmp_path / "model.onnx"), target, say=said.append)
    deployment.deploy()
    try:
        assert len(deployment.score_images([tmp_path / "a.jpg"])) == 1
        with pytest.raises(RequestRefused, match="1"):
            deployment.score_images([tmp_path / "a.jpg"] * 2)
        (environment,) = map(environment_of, services(tmp_path))
    finally:
        deployment.delete()
    assert environment["SALVER_ADMIN_KEYS"] == settings["SALVER_ADMIN_KEYS"]
    assert environment["SALVER_DRAIN_SECONDS"] == "0"
    assert not (OTHERS.keys() | {"SALVER_API_KEYS", "SALVER_API_KEY"}) & environment.keys()
    sentences = [line for line in said if "not handed on" in line]
    assert [line.split()[0] for line in sentences] == ["SALVER_API_KEY", "SALVER_API_KEYS", "SALVER_DRAIN_SECONDS"]
    commands = "".join(said) + ((engine / "calls").read_text() if target == "docker" else "")
    assert not any(value in commands for value in ("an-admin-key-of-length", "another-services-key"))
