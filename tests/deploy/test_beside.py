"""Several Salvers in one namespace, and one under another name: each has its own pods, autoscaler and figures."""

import re
import shutil
from pathlib import Path

import pytest

from tests.deploy.manifests import K8S, Object, at, build, each, mapping, of_kind, pod_template, text

COMPONENTS = "components: [../../components/keda, ../../components/monitoring, ../../components/tracing]\n"
OWN = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../cpu]\n"
SELECTORS = {
    "Deployment": ("spec", "selector", "matchLabels"),
    "Service": ("spec", "selector"),
    "PodDisruptionBudget": ("spec", "selector", "matchLabels"),
    "NetworkPolicy": ("spec", "podSelector", "matchLabels"),
}


def overlay(folder: Path, written: str) -> tuple[Object, ...]:
    """What an overlay of one's own comes to, beside ours."""
    shutil.copytree(K8S, folder)
    (folder / "overlays" / "own").mkdir()
    (folder / "overlays" / "own" / "kustomization.yaml").write_text(written)
    return build(folder / "overlays" / "own")


@pytest.fixture
def stable(tmp_path: Path) -> tuple[Object, ...]:
    return overlay(tmp_path / "stable", OWN + COMPONENTS)


@pytest.fixture
def canary(tmp_path: Path) -> tuple[Object, ...]:
    """Ours, with components added as its head says."""
    return overlay(tmp_path / "canary", (K8S / "overlays" / "canary" / "kustomization.yaml").read_text() + COMPONENTS)


def selected(selecting: tuple[Object, ...], pods: tuple[Object, ...]) -> list[str]:
    """The objects of the first that select the pods of the second."""
    (deployment,) = of_kind(pods, "Deployment")
    labels = mapping(pod_template(deployment), "metadata", "labels").items()
    return [
        f"{kind} {text(item, 'metadata', 'name')}"
        for kind, place in SELECTORS.items()
        for item in of_kind(selecting, kind)
        if mapping(item, *place).items() <= labels
    ]


def instances(objects: tuple[Object, ...]) -> set[str]:
    """Which Salvers' figures the autoscaler counts."""
    (scaler,) = of_kind(objects, "ScaledObject")
    queries = " ".join(text(trigger, "metadata", "query") for trigger in each(scaler, "spec", "triggers"))
    return set(re.findall(r'\{app_kubernetes_io_instance="([^"]*)"\}', queries))


@pytest.mark.slow
def test_two_beside_each_other_select_their_own_pods_only(
    stable: tuple[Object, ...], canary: tuple[Object, ...]
) -> None:
    assert len(selected(stable, stable)) == len(selected(canary, canary)) == 5
    assert selected(stable, canary) == selected(canary, stable) == []
    names = [(item["kind"], text(item, "metadata", "name")) for item in (*stable, *canary)]
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_each_is_scraped_once_and_scaled_by_its_own_figures(
    stable: tuple[Object, ...], canary: tuple[Object, ...]
) -> None:
    for objects, instance in ((stable, "salver"), (canary, "canary")):
        (monitor,), (service,) = of_kind(objects, "ServiceMonitor"), of_kind(objects, "Service")
        wanted = mapping(monitor, "spec", "selector", "matchLabels").items()
        others = [of_kind(other, "Service")[0] for other in (stable, canary) if other is not objects]
        assert wanted <= mapping(service, "metadata", "labels").items()
        assert not any(wanted <= mapping(other, "metadata", "labels").items() for other in others)
        # The operator makes app_kubernetes_io_instance of it, on every metric.
        assert at(monitor, "spec", "targetLabels") == ["app.kubernetes.io/instance"]
        assert text(service, "metadata", "labels", "app.kubernetes.io/instance") == instance
        assert instances(objects) == {instance}


@pytest.mark.slow
def test_the_second_one_serves_another_file(stable: tuple[Object, ...], canary: tuple[Object, ...]) -> None:
    models = []
    for objects in (stable, canary):
        (serve,) = each(pod_template(of_kind(objects, "Deployment")[0]), "spec", "containers")
        models += [text(item, "value") for item in each(serve, "env") if item["name"] == "SALVER_MODEL"]
    assert models == ["/runs/model/model.onnx", "/runs/canary/model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["namePrefix: shop-\n", "nameSuffix: -shop\n"])
def test_under_another_name_the_autoscaler_aims_at_the_deployment_and_counts_what_is_scraped(
    change: str, tmp_path: Path
) -> None:
    objects = overlay(tmp_path / "own", OWN + COMPONENTS + change)
    (deployment,), (scaler,) = of_kind(objects, "Deployment"), of_kind(objects, "ScaledObject")
    assert text(deployment, "metadata", "name") in ("shop-salver", "salver-shop")
    assert text(scaler, "spec", "scaleTargetRef", "name") == text(deployment, "metadata", "name")
    assert instances(objects) == {"salver"}
    (monitor,), (service,) = of_kind(objects, "ServiceMonitor"), of_kind(objects, "Service")
    # The dashboard asks for job="salver": the operator takes the job from this label, not from the Service's name.
    assert text(service, "metadata", "labels", text(monitor, "spec", "jobLabel")) == "salver"
    assert selected(objects, objects)


def test_the_head_of_monitoring_names_the_label_that_kube_prometheus_stack_wants(tmp_path: Path) -> None:
    head = (K8S / "components" / "monitoring" / "kustomization.yaml").read_text()
    line = next(line.removeprefix("#").strip() for line in head.splitlines() if "labels: [{pairs: {release:" in line)
    objects = overlay(tmp_path / "own", f"{OWN}{COMPONENTS}{line}\n")
    for kind in ("ServiceMonitor", "PrometheusRule"):
        (item,) = of_kind(objects, kind)
        assert text(item, "metadata", "labels", "release") == "kube-prometheus-stack"
    assert selected(objects, objects) == selected(overlay(tmp_path / "other", OWN + COMPONENTS), objects)
