"""`docker compose up` from nothing to a score (`make images-all` first, then `pytest -m docker`; about 4 minutes)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from salver.client.errors import KeyRefused
from salver.client.result import Score
from salver.client.scoring import ScoringClient
from tests.deploy.manifests import ROOT
from tests.support.images import photo
from tests.support.live import free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

PROFILES = ("gpu", "load", "monitoring")


def compose(*words: str, port: int = 0) -> str:
    """What it prints; of a project of its own, so that a running one is left alone."""
    command = ["docker", "compose", "--project-name", "salver-test", "--project-directory", str(ROOT), *words]
    environment = os.environ | {"SALVER_PORT": str(port), "SALVER_LOAD_RUN_TIME": "30s", "SALVER_LOAD_P99_MS": "10000"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def port() -> Iterator[int]:
    yield free_port()
    compose("--profile", "load", "down", "--volumes")


def test_from_nothing_to_a_score_and_a_load_test(port: int, tmp_path: Path) -> None:
    compose("up", "--wait", port=port)
    key = compose("exec", "-T", "serve", "cat", "/run/keys/service_key", port=port).strip()
    assert compose("port", "serve", "8000", port=port).strip() == f"127.0.0.1:{port}"
    (tmp_path / "a.jpg").write_bytes(photo(120, 100))
    with ScoringClient(f"http://127.0.0.1:{port}", key) as client:
        (result,) = client.score(tmp_path / "a.jpg", softmax=True)
    assert isinstance(result, Score)
    assert len(result.scores) == 4
    with ScoringClient(f"http://127.0.0.1:{port}") as client, pytest.raises(KeyRefused):
        client.score(tmp_path / "a.jpg")
    assert "load test: PASSED" in compose("--profile", "load", "run", "--rm", "-T", "load", port=port)
    compose("up", "--wait", port=port)
    assert "The model is there already" in compose("logs", "train", port=port)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_understood_and_listens_on_loopback_only(profile: str) -> None:
    text = compose("--profile", profile, "config")
    assert text.count("host_ip: 127.0.0.1") == text.count("published:") > 0
