"""A deployment that is changed: what ran before serves until the new one has proved itself, and on when it does not."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from salver.client.errors import DeploymentFailed
from salver.client.result import Score
from salver.deployment.deployment import Deployment, TargetName
from tests.support.images import photo
from tests.support.models import probe

pytestmark = [pytest.mark.slow, pytest.mark.server]

TARGETS: list[TargetName] = ["local", "docker"]


@pytest.fixture(params=TARGETS)
def first(request: pytest.FixtureRequest, engine: Path, tmp_path: Path) -> Iterator[Deployment]:
    """Deployed."""
    deployment = Deployment("one", probe(tmp_path / "model.onnx"), request.param, service_key="first")
    deployment.deploy()
    (tmp_path / "a.jpg").write_bytes(photo(48, 40))
    yield deployment
    deployment.delete()
    assert list((tmp_path / "state").rglob("*key*")) == []
    assert list(engine.glob("*.json")) == []


def like(first: Deployment, model: Path, key: str = "second") -> Deployment:
    return Deployment("one", model, first.status().target, service_key=key)  # type: ignore[arg-type]


def kept(folder: Path) -> int:
    """How many processes' or containers' keys are kept."""
    return len([*(folder / "state").rglob("key-*"), *(folder / "state").rglob("mount-*")])


def test_a_broken_model_leaves_the_deployment_as_it_was(first: Deployment, tmp_path: Path) -> None:
    before = first.status()
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(
        DeploymentFailed,
        match=r"ended before.*cannot be loaded: it is not an ONNX file.*What was deployed before is as it was\.",
    ):
        like(first, tmp_path / "broken.onnx").deploy()
    assert first.status() == before
    assert first.service_key == "first"
    assert isinstance(first.score_image(tmp_path / "a.jpg"), Score)
    assert kept(tmp_path) == 1


def test_the_old_one_ends_once_the_new_one_is_ready(first: Deployment, tmp_path: Path) -> None:
    before = first.status()
    second = like(first, probe(tmp_path / "second.onnx"))
    assert second.deploy() != before.url
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{before.url}/healthz")
    assert [status.name for status in Deployment.list_deployment(second.status().target)] == ["one"]  # type: ignore[arg-type]
    assert second.service_key == "second"
    assert isinstance(second.score_image(tmp_path / "a.jpg"), Score)
    assert kept(tmp_path) == 1


def test_a_container_has_a_folder_of_its_own_with_the_model_as_it_was_deployed(engine: Path, tmp_path: Path) -> None:
    """Bound as a folder; a deployment does not change with the path that it was made from."""
    (tmp_path / "blobs").mkdir()
    probe(tmp_path / "blobs" / "0f3a")
    (tmp_path / "model.onnx").symlink_to(Path("blobs", "0f3a"))
    (tmp_path / "neighbour").write_text("private")
    deployment = Deployment("one", tmp_path / "model.onnx", "docker", service_key="first")
    deployment.deploy()
    try:
        (folder,) = (tmp_path / "state").rglob("mount-*")
        assert sorted(path.name for path in folder.iterdir()) == ["key", "model.onnx"]
        assert (folder / "model.onnx").read_bytes() == (tmp_path / "blobs" / "0f3a").read_bytes()
        (tmp_path / "model.onnx").unlink()
        assert deployment.status().ready == 1
    finally:
        deployment.delete()
    assert not list((tmp_path / "state").rglob("mount-*"))
    assert engine.is_dir()
