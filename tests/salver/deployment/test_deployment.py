"""Deployments from beginning to end: a real process, and a kubectl that stands in for a cluster."""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from typer.testing import CliRunner

from salver.cli import build
from salver.client.errors import DeploymentFailed, KeyRefused
from salver.client.result import Score
from salver.deployment.deployment import ADD_SOFTMAX, Deployment
from tests.deploy.manifests import K8S, kubectl, mapping, of_kind
from tests.deploy.manifests import build as kustomized
from tests.salver.conftest import KEY, Service
from tests.support.images import photo
from tests.support.models import constant, probe

STAND_IN = Path(__file__).with_name("kubectl.py")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "a.jpg").write_bytes(photo(48, 40))
    return probe(tmp_path / "model.onnx")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service, model: Path) -> Iterator[Path]:
    """The folder in which the stand-in keeps what was applied, which Kubernetes' schemas allow; it serves `model`."""
    service.version = version(model)
    folder, programs = tmp_path / "cluster", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir(exist_ok=True)
    script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(STAND_IN))} "$@"\n'
    (programs / "kubectl").write_text(script)
    (programs / "kubectl").chmod(0o755)
    monkeypatch.setenv("REAL_KUBECTL", kubectl())
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("STAND_IN_FOLDER", str(folder))
    monkeypatch.setenv("STAND_IN_SERVICE", service.url.removeprefix("http://"))
    yield folder
    applied = folder / "applied"
    for line in applied.read_text().splitlines() if applied.exists() else ():
        kubernetes_validate.validate(json.loads(line), "1.36", strict=True)


def version(model: Path) -> str:
    return hashlib.sha256(model.read_bytes()).hexdigest()


def kept(cluster: Path) -> set[str]:
    return {path.name.split("--")[0] for path in cluster.glob("*.json")}


@pytest.mark.slow
def test_a_local_deployment_lives_from_deploy_to_delete(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of one's own that holds service.py, which is not run."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "service.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path / "mine")
    deployment = Deployment("one", model=model)
    assert not deployment.is_existing_service()
    url = deployment.deploy()
    try:
        assert [status.url for status in Deployment.list_deployment()] == [url]
        assert (deployment.status().ready, deployment.status().replicas) == (1, 1)
        image = tmp_path / "a.jpg"
        result = deployment.score_image(image, parameters={ADD_SOFTMAX: True})
        assert isinstance(result, Score)
        assert sum(result.scores) == pytest.approx(1)
        assert isinstance(Deployment.score_existing_service_with_image(image, url, deployment.service_key), Score)
        with pytest.raises(KeyRefused):
            Deployment.score_existing_service_with_image(image, url)
        with pytest.raises(DeploymentFailed, match="one local process"):
            deployment.scale(2)
    finally:
        assert Deployment.delete_if_service_exist("one")
    assert not Deployment.delete_if_service_exist("one")
    assert deployment.service_key is None
    assert not (tmp_path / "run").exists()


@pytest.mark.server
def test_a_service_that_cannot_start_is_told_in_its_own_words(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DeploymentFailed, match=r"ended before it was ready.*cannot be loaded: it is not an ONNX file"):
        Deployment("one", model=tmp_path / "a.jpg").deploy()
    assert Deployment.list_deployment() == []


@pytest.mark.server
def test_a_key_file_is_its_owners_alone(model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    deployment = Deployment("one", model=model, service_key="my-key", say=said.append)
    deployment.deploy()
    try:
        (file,) = (tmp_path / "state").rglob("key-*")
        assert file.stat().st_mode & 0o777 == 0o600
        assert deployment.service_key == "my-key"
        assert "my-key" not in "".join(said)
    finally:
        deployment.delete()


@pytest.mark.parametrize("name", ["", "Cup", "1cup", "a_b", "-a", "a" * 41])
def test_a_name_that_no_host_can_have_is_refused(name: str) -> None:
    with pytest.raises(DeploymentFailed, match="cannot name a deployment"):
        Deployment(name)


@pytest.mark.parametrize(
    "number",
    [{"replicas": 0}, {"replicas": -1}, {"replicas": 10**9}]
    + [{"timeout_seconds": seconds} for seconds in (0.0, float("nan"), float("inf"))],
)
def test_a_number_of_replicas_or_seconds_that_cannot_be_is_refused(number: dict[str, float]) -> None:
    with pytest.raises(DeploymentFailed, match=r"is .*: give a number from 1 to "):
        Deployment("one", **number)  # type: ignore[arg-type]


@pytest.mark.slow
def test_on_kubernetes_each_call_is_what_a_person_would_type(model: Path, cluster: Path) -> None:
    """What is applied never holds replicas, and a second deploy leaves the autoscaler's number alone."""
    deployment = Deployment("tw", model, "kubernetes", replicas=3, namespace="team", image="tw:1", service_key=KEY)
    assert deployment.deploy() == "http://salver-tw.team.svc"
    assert kept(cluster) == {
        *("configmap", "deployment", "networkpolicy", "pdb", "secret", "service", "serviceaccount"),
    }
    assert (deployment.status().ready, deployment.status().replicas) == (3, 3)
    (of_base,) = of_kind(kustomized(K8S / "base"), "Service")
    mine = json.loads((cluster / "service--salver-tw.json").read_text())
    pods = json.loads((cluster / "deployment--salver-tw.json").read_text())
    labels = mapping(pods, "spec", "template", "metadata", "labels")
    assert mapping(mine, "spec", "selector").items() <= labels.items()
    assert not mapping(of_base, "spec", "selector").items() <= labels.items()
    assert deployment.service_key == KEY
    deployment.autoscale(2, 5)
    assert "hpa" in kept(cluster)
    calls = [json.loads(line) for line in (cluster / "calls").read_text().splitlines()]
    assert not any(KEY in word for call in calls for word in call)
    assert sum(call[0] == "scale" for call in calls) == 1
    deployment.deploy()
    calls = [json.loads(line) for line in (cluster / "calls").read_text().splitlines()]
    assert sum(call[0] == "scale" for call in calls) == 1
    deployment.scale(2)
    assert "hpa" not in kept(cluster)
    deployment.delete()
    assert kept(cluster) == set()


@pytest.mark.soak
def test_on_kubernetes_images_are_scored_through_a_port_of_this_machine(
    model: Path, cluster: Path, tmp_path: Path
) -> None:
    deployment = Deployment("tw", model, "kubernetes", namespace="team", image="tw:1", service_key=KEY)
    deployment.deploy()
    assert isinstance(deployment.score_image(tmp_path / "a.jpg"), Score)


@pytest.mark.soak
def test_pods_that_do_not_start_are_told_in_their_own_words(model: Path, cluster: Path) -> None:
    deployment = Deployment("tw", model, "kubernetes", namespace="team", image="tw:1")
    (cluster / "pods-fail").touch()
    with pytest.raises(DeploymentFailed, match="ImagePullBackOff Back-off pulling image") as refusal:
        deployment.deploy()
    assert "before" not in str(refusal.value)
    undo = "kubectl rollout undo --namespace team deployment/salver-tw"
    with pytest.raises(DeploymentFailed, match=f"What was deployed before serves on; '{undo}' takes the change back"):
        deployment.deploy()


@pytest.mark.slow
def test_a_deployment_of_somebody_else_is_not_touched(model: Path, cluster: Path) -> None:
    foreign = {"metadata": {"name": "salver-tw", "labels": {"app.kubernetes.io/instance": "tw"}}}
    (cluster / "deployment--salver-tw.json").write_text(json.dumps(foreign))
    with pytest.raises(DeploymentFailed, match="was not made by 'salver deploy'"):
        Deployment("tw", model, "kubernetes", namespace="team", image="tw:1").deploy()
    with pytest.raises(DeploymentFailed, match="There is no deployment 'tw'"):
        Deployment("tw", target="kubernetes", namespace="team").delete()
    assert kept(cluster) == {"deployment"}


@pytest.mark.slow
def test_after_a_rollback_a_deploy_takes_the_fields_back_that_another_manager_set(model: Path, cluster: Path) -> None:
    """`kubectl rollout undo` sets the image under a name of its own, which a server-side apply then conflicts with."""
    deployments = [
        Deployment("tw", model, "kubernetes", namespace="team", image=image, service_key=KEY)
        for image in ("tw:1", "tw:2")
    ]
    for deployment in deployments:
        deployment.deploy()
    undo = ["kubectl", "rollout", "--namespace", "team", "undo", "deployment/salver-tw"]
    subprocess.run(undo, check=True)
    assert image_of(cluster) == "tw:1"
    as_before = [line for line in (cluster / "applied").read_text().splitlines() if "tw:2" in line][-1]
    apply = ["kubectl", "apply", "--namespace", "team", "--server-side", "--field-manager=salver-deploy"]
    refused = subprocess.run(
        [*apply, "--filename=-"], input=as_before, capture_output=True, text=True, check=False
    )  # what the stand-in is for
    assert refused.returncode
    assert 'conflict with "kubectl-rollout"' in refused.stderr
    deployments[1].deploy()
    assert image_of(cluster) == "tw:2"


def image_of(cluster: Path) -> object:
    return pod_spec(cluster)["spec"]["containers"][0]["image"]


def pod_spec(cluster: Path) -> Any:
    return json.loads((cluster / "deployment--salver-tw.json").read_text())["spec"]["template"]


@pytest.mark.slow
def test_another_key_makes_new_pods_and_the_same_key_none(model: Path, cluster: Path) -> None:
    """A mounted Secret is refreshed late: the key of before would be the valid one for a minute."""
    templates = []
    for key in (KEY, KEY, "another"):
        deployment = Deployment(
            "tw", model, "kubernetes", namespace="team", image="tw:1", service_key=key, timeout_seconds=1
        )
        if key == KEY:
            deployment.deploy()
        else:  # the stand-in's service takes KEY alone
            words = r"pods are ready, but: .* does not take the deployment's key\. The image"
            with pytest.raises(DeploymentFailed, match=words):
                deployment.deploy()
        templates.append(pod_spec(cluster))
    assert templates[0] == templates[1]
    assert templates[1] != templates[2]
    assert KEY not in json.dumps(templates)
    assert hashlib.sha256(KEY.encode()).hexdigest()[:16] not in json.dumps(templates)


@pytest.mark.slow
def test_an_image_that_holds_another_model_is_not_called_ready(model: Path, cluster: Path, tmp_path: Path) -> None:
    """The name of an image that never changes makes no new pods, so the model of before goes on answering."""
    Deployment("tw", model, "kubernetes", namespace="team", image="tw:latest", service_key=KEY).deploy()
    other = constant(tmp_path / "other.onnx", [1.0, 2.0])
    assert version(other) != version(model)
    with pytest.raises(DeploymentFailed) as refusal:
        Deployment(
            "tw", other, "kubernetes", namespace="team", image="tw:latest", service_key=KEY, timeout_seconds=1
        ).deploy()
    assert f"its version is {version(model)}, and the file's is {version(other)}. The image is tw:latest" in str(
        refusal.value
    )
    assert "takes the change back" in str(refusal.value)


@pytest.mark.slow
def test_the_image_that_is_built_is_named_by_its_model(
    model: Path, engine: Path, cluster: Path, tmp_path: Path
) -> None:
    Deployment("tw", model, "kubernetes", namespace="team", service_key=KEY).deploy()
    assert image_of(cluster) == f"salver-model-tw:{version(model)}"
    other = constant(tmp_path / "other.onnx", [1.0, 2.0])
    assert Deployment("tw", other, "kubernetes").build_docker_image() == f"salver-model-tw:{version(other)}"
    assert Deployment("tw", other, "kubernetes", device="gpu").build_docker_image().endswith(f":{version(other)}-gpu")
    assert Deployment("tw", other, "kubernetes", image="mine:1").build_docker_image() == "mine:1"


@pytest.mark.slow
def test_what_a_deploy_left_in_a_cluster_before_its_pods_is_listed_and_deleted(model: Path, cluster: Path) -> None:
    """The Secret is applied first."""
    deployment = Deployment("tw", model, "kubernetes", namespace="team", image="tw:1", service_key=KEY)
    deployment.deploy()
    for path in cluster.glob("*.json"):
        if not path.name.startswith("secret--"):
            path.unlink()
    (left,) = Deployment.list_deployment("kubernetes", "team")
    assert (left.name, left.ready, left.url) == ("tw", 0, "")
    assert "has not come to its end" in left.fault
    deployment.delete()
    assert kept(cluster) == set()
    assert Deployment.list_deployment("kubernetes", "team") == []


@pytest.mark.server
def test_the_commands_say_what_is_there_and_what_is_not(model: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(build(words[0]), words)
        return result.exit_code, result.stdout + result.stderr

    assert run("list") == (0, "")
    assert run("status", "one") == (1, "salver status: There is no deployment 'one' on local.\n")
    code, said = run("deploy", "one", str(model), "--verbose")
    try:
        assert code == 0
        assert " -m service --port " in said
        assert "1/1 ready" in run("list")[1]
        assert run("status", "one")[0] == 0
    finally:
        assert run("delete", "one") == (0, "")
    assert run("scale", "one", "--min", "2", "--target", "local")[0] == 2
