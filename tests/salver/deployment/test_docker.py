"""Deployments as containers, from beginning to end (`make images` first, then `pytest -m docker`)."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from salver.cli import build
from salver.client.errors import DeploymentFailed, KeyRefused
from salver.client.result import Score
from salver.deployment.deployment import ADD_SOFTMAX, Deployment
from tests.support.images import photo
from tests.support.models import probe

pytestmark = pytest.mark.docker

NAME = "test-salver"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "a.jpg").write_bytes(photo(48, 40))
    yield probe(tmp_path / "model.onnx")
    Deployment.delete_if_service_exist(NAME, "docker")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def test_a_docker_deployment_lives_from_deploy_to_delete(model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    deployment = Deployment(NAME, model=model, target="docker", say=said.append)
    assert not deployment.is_existing_service()
    url = deployment.deploy()
    assert url.startswith("http://127.0.0.1:")
    assert NAME in [status.name for status in Deployment.list_deployment("docker")]
    assert (deployment.status().ready, deployment.status().replicas) == (1, 1)
    image, key = tmp_path / "a.jpg", deployment.service_key
    result = deployment.score_image(image, parameters={ADD_SOFTMAX: True})
    assert isinstance(result, Score)
    assert sum(result.scores) == pytest.approx(1)
    assert isinstance(Deployment.score_existing_service_with_image(image, url, key), Score)
    with pytest.raises(KeyRefused):
        Deployment.score_existing_service_with_image(image, url)
    with pytest.raises(DeploymentFailed, match="one container"):
        deployment.scale(2)
    deployment.deploy()
    assert deployment.service_key == key
    assert key
    assert key not in "".join(said)
    deployment.delete()
    assert not deployment.is_existing_service()
    assert deployment.service_key is None


def test_a_container_that_cannot_start_is_told_in_its_own_words_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DeploymentFailed, match=r"ended before it was ready.*cannot be loaded: it is not an ONNX file"):
        Deployment(NAME, model=tmp_path / "a.jpg", target="docker").deploy()
    with pytest.raises(DeploymentFailed, match="none-such"):
        Deployment(NAME, model=model, target="docker", image="salver-none-such:1").deploy()
    assert docker("ps", "--all", "--quiet", "--filter", f"name=salver-{NAME}") == ""
    assert list((tmp_path / "state" / "salver" / "docker").iterdir()) == []


def test_a_container_of_somebody_else_is_not_touched(model: Path) -> None:
    foreign = docker("create", "--name", f"salver-{NAME}", "salver-serve:cpu")
    try:
        with pytest.raises(DeploymentFailed, match="already in use"):
            Deployment(NAME, model=model, target="docker").deploy()
        with pytest.raises(DeploymentFailed, match="There is no deployment"):
            Deployment(NAME, target="docker").delete()
        assert docker("inspect", "--format", "{{.Id}}", f"salver-{NAME}") == foreign
    finally:
        docker("rm", foreign)


def test_the_commands_build_an_image_with_the_model_in_it_and_deploy_it(model: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(build(words[0]), words)
        return result.exit_code, result.stdout

    image = f"salver-model-{NAME}:{hashlib.sha256(model.read_bytes()).hexdigest()}"
    assert run("build-image", NAME, str(model)) == (0, image + "\n")
    try:
        where = ("--target", "docker")
        assert run("deploy", NAME, str(model), "--image", image, *where)[0] == 0
        assert "1/1 ready" in run("list", *where)[1]
        assert run("status", NAME, *where)[0] == 0
        assert run("scale", NAME, "1", *where)[0] == 0
        assert run("delete", NAME, *where) == (0, "")
        assert run("status", NAME, *where)[0] == 1
        assert docker("run", "--rm", "--user", "1234:0", "--entrypoint", "wc", image, "-c", "/model/model.onnx") == (
            f"{model.stat().st_size} /model/model.onnx"
        )
    finally:
        docker("rmi", image)
