"""Every overlay and combination of components against Kubernetes' schemas and our own rules."""

import itertools
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
from fastapi.routing import iter_route_contexts

from service.app import create_app
from service.limits.request import Keys
from service.service import Service
from service.settings import PREFIX, Settings
from tests.deploy.manifests import (
    JOBS,
    K8S,
    OVERLAYS,
    ROOT,
    Object,
    at,
    build,
    compose,
    containers,
    each,
    mapping,
    of_kind,
    pod_template,
    quantity,
    read,
    text,
)

VERSIONS = sorted({version for version in kubernetes_validate.utils.all_versions() if version >= "1.30"})
OURS = "app.kubernetes.io/"
MODELS = ("model-pvc", "model-image", "model-fetch")
SCALERS = ("", "keda", "hpa-custom-metrics")
EXTRAS = ("monitoring", "ingress", "tracing")
GIVEN_BY_OTHERS = {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
"""Kinds of KEDA and the Prometheus operator, for which Kubernetes has no schema."""


def combinations() -> list[tuple[str, ...]]:
    """Each way of the model, on CPU and GPU, with each scaler and all that is optional; without stand the overlays."""
    return [
        tuple(filter(None, (model, gpu, scaler, *EXTRAS)))
        for model, gpu, scaler in itertools.product(MODELS, ("", "gpu"), SCALERS)
    ]


@pytest.fixture(autouse=True, scope="module")
def schemas() -> Iterator[None]:
    """Each read once: kubernetes_validate reads megabytes anew for every object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
        yield


@cache
def settings() -> frozenset[str]:
    return frozenset(PREFIX + name.upper() for name in Settings.model_fields)


@cache
def paths() -> frozenset[str]:
    app = create_app(Service(Settings(model="none"), Keys([])))
    return frozenset(route.path for route in iter_route_contexts(app.routes) if route.path)


def check(objects: Sequence[Object]) -> None:
    """All rules of our own."""
    for item in objects:
        if item["kind"] in ("Deployment", "Job"):
            check_pod(item)
    (deployment,) = of_kind(objects, "Deployment")
    check_selectors(objects, deployment)
    check_environment(objects, deployment)
    check_serving(deployment)
    check_scaling(objects, deployment)


def check_pod(item: Object) -> None:
    """Pod Security `restricted`, and requests within limits, in every container."""
    spec = at(pod_template(item), "spec")
    assert at(spec, "automountServiceAccountToken") is False
    assert at(spec, "enableServiceLinks") is False
    assert at(spec, "securityContext", "runAsNonRoot") is True
    assert text(spec, "securityContext", "seccompProfile", "type") == "RuntimeDefault"
    for container in containers(item):
        security = at(container, "securityContext")
        assert at(security, "allowPrivilegeEscalation") is False
        assert at(security, "readOnlyRootFilesystem") is True
        assert at(security, "capabilities", "drop") == ["ALL"]
        requests, limits = (mapping(container, "resources", part) for part in ("requests", "limits"))
        assert {"cpu", "memory"} <= requests.keys() <= limits.keys()
        assert all(quantity(request) <= quantity(limits[name]) for name, request in requests.items())


def check_selectors(objects: Sequence[Object], deployment: Object) -> None:
    """Whatever selects pods selects the serving ones, and none of the jobs'."""
    labels = mapping(pod_template(deployment), "metadata", "labels")
    jobs = [item for name in JOBS for item in of_kind(read(K8S / "jobs" / name), "Job")]
    others = [mapping(pod_template(job), "metadata", "labels") for job in jobs]
    places = {
        "Deployment": ("spec", "selector", "matchLabels"),
        "Service": ("spec", "selector"),
        "PodDisruptionBudget": ("spec", "selector", "matchLabels"),
        "NetworkPolicy": ("spec", "podSelector", "matchLabels"),
    }
    for item in objects:
        if place := places.get(str(item["kind"])):
            selector = mapping(item, *place).items()
            assert selector
            assert selector <= labels.items()
            assert not any(selector <= other.items() for other in others)


def check_environment(objects: Sequence[Object], deployment: Object) -> None:
    """Every SALVER_ name is a setting of the service, and what is referred to is there."""
    maps = {text(item, "metadata", "name"): mapping(item, "data") for item in of_kind(objects, "ConfigMap")}
    for container in containers(deployment):
        names = {text(variable, "name") for variable in each(container, "env")}
        for source in each(container, "envFrom"):
            if name := text(source, "configMapRef", "name"):
                names |= maps[name].keys()
        assert {name for name in names if name.startswith(PREFIX)} <= settings()
        assert text(container, "name") != "serve" or "SALVER_MODEL" in names
    assert not of_kind(objects, "Secret")


def check_serving(deployment: Object) -> None:
    """Probes on paths that are there, with time; the end fits into the grace time."""
    spec = at(pod_template(deployment), "spec")
    serve = next(item for item in containers(deployment) if item["name"] == "serve")
    assert text(serve, "startupProbe", "httpGet", "path") == text(serve, "readinessProbe", "httpGet", "path")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert text(serve, probe, "httpGet", "path") in paths()
        assert quantity(at(serve, probe, "timeoutSeconds")) >= 5
    assert text(serve, "livenessProbe", "httpGet", "path") == "/healthz"
    startup = mapping(serve, "startupProbe")
    assert quantity(startup["periodSeconds"]) * quantity(startup["failureThreshold"]) >= 120
    end = quantity(at(serve, "lifecycle", "preStop", "sleep", "seconds")) + DRAIN_SECONDS + TIMEOUT_SECONDS + 3
    assert end < quantity(at(spec, "terminationGracePeriodSeconds"))


def literal(name: str) -> float:
    """A number among the base's settings."""
    (settings_map,) = of_kind(build(K8S / "base"), "ConfigMap")
    return float(text(settings_map, "data", name))


DRAIN_SECONDS, TIMEOUT_SECONDS = 10, 30


def check_scaling(objects: Sequence[Object], deployment: Object) -> None:
    """One scaler that names the Deployment, no replicas beside it, a budget that lets one go."""
    scalers = of_kind(objects, "HorizontalPodAutoscaler") + of_kind(objects, "ScaledObject")
    assert len(scalers) == 1
    assert text(scalers[0], "spec", "scaleTargetRef", "name") == text(deployment, "metadata", "name")
    assert at(deployment, "spec", "replicas") is None
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert at(budget, "spec", "maxUnavailable") == 1
    assert at(budget, "spec", "minAvailable") is None


def validate(item: Object) -> None:
    if item["apiVersion"] not in GIVEN_BY_OTHERS:
        for version in VERSIONS:
            if version >= "1.31" or "image" not in {key for volume in volumes(item) for key in volume}:
                kubernetes_validate.validate(item, version, strict=True)


def volumes(item: Object) -> list[Object]:
    return each(pod_template(item), "spec", "volumes")


def test_the_bases_settings_are_those_that_the_grace_time_was_reckoned_with() -> None:
    assert literal("SALVER_DRAIN_SECONDS") == DRAIN_SECONDS
    assert literal("SALVER_REQUEST_TIMEOUT_SECONDS") == TIMEOUT_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_follows_kubernetes_schemas_and_our_rules(overlay: str) -> None:
    objects = build(K8S / "overlays" / overlay)
    for item in objects:
        validate(item)
    check(objects)


@pytest.mark.slow
def test_every_combination_of_components_follows_our_rules(tmp_path: Path) -> None:
    seen: list[Object] = []
    for number, components in enumerate(combinations()):
        objects = build(compose(tmp_path / str(number), components))
        check(objects)
        seen += [item for item in objects if item not in seen]
    for item in seen:
        validate(item)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_follows_kubernetes_schemas_and_our_rules(name: str) -> None:
    for item in read(K8S / "jobs" / name):
        validate(item)
        if item["kind"] == "Job":
            check_pod(item)


def test_a_gpu_pod_asks_for_a_gpu_tolerates_its_taint_and_never_surges() -> None:
    (deployment,) = of_kind(build(K8S / "overlays" / "gpu"), "Deployment")
    serve = next(item for item in containers(deployment) if item["name"] == "serve")
    assert text(serve, "resources", "limits", "nvidia.com/gpu") == "1"
    assert text(pod_template(deployment), "spec", "tolerations", 0, "key") == "nvidia.com/gpu"
    assert text(deployment, "spec", "strategy", "type") == "Recreate"
    assert text(serve, "image") == "salver-serve:gpu"


@pytest.mark.parametrize("key", ["SALVER_MAX_ITEM", "SALVER_PORT"])
def test_a_setting_that_the_service_does_not_know_is_found(key: str) -> None:
    objects = build(K8S / "overlays" / "local")
    wrong = [
        {**item, "data": {**mapping(item, "data"), key: "1"}} if item["kind"] == "ConfigMap" else item
        for item in objects
    ]
    (deployment,) = of_kind(wrong, "Deployment")
    with pytest.raises(AssertionError):
        check_environment(wrong, deployment)


def test_every_documented_apply_takes_back_what_another_manager_set() -> None:
    """After `kubectl rollout undo` a server-side apply without it stops half-way with a conflict."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.ipynb"), *K8S.rglob("*.yaml")]
    applies = [line for page in pages for line in page.read_text().splitlines() if "apply --server-side" in line]
    assert len(applies) >= 4
    assert [line for line in applies if "apply --server-side --force-conflicts" not in line] == []
