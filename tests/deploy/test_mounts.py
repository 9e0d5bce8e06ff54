"""Keys, models and settings are mounted as folders: a file that is bound by itself stays the one of the start."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import JOBS, K8S, OVERLAYS, ROOT, Object, at, build, compose, containers, each, read, text

COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
BOUND = re.compile(r"""(?:-v|--volume|--mount)[ =]+["']?(?P<source>[^\s:"']+):(?P<target>[^\s:"',]+)""")
FILE_SETTING = re.compile(r"SALVER_(?:MODEL|\w+_FILE)[=:]\s*[\"']?([\w./-]+)")


def by_file(item: Object) -> list[str]:
    """Mounts of a workload that are never refreshed."""
    return [
        f"{text(item, 'metadata', 'name')}: {text(mount, 'mountPath')}"
        for container in containers(item)
        for mount in each(container, "volumeMounts")
        if at(mount, "subPath") is not None or at(mount, "subPathExpr") is not None
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_overlay_mounts_by_subpath(overlay: str) -> None:
    assert [found for item in build(K8S / "overlays" / overlay) for found in by_file(item)] == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_no_component_mounts_by_subpath(component: str, tmp_path: Path) -> None:
    objects = build(compose(tmp_path / "k8s", [component]))
    assert [found for item in objects for found in by_file(item)] == []


@pytest.mark.parametrize("job", JOBS)
def test_no_job_mounts_by_subpath(job: str) -> None:
    assert [found for item in read(K8S / "jobs" / job) for found in by_file(item)] == []


def test_a_mount_by_subpath_is_found() -> None:
    container: Object = {"volumeMounts": [{"name": "keys", "mountPath": "/run/keys", "subPath": "keys"}]}
    item: Object = {"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [container]}}}}
    assert by_file(item) == ["a: /run/keys"]


def compose_file() -> dict[str, dict[str, dict[str, list[str]]]]:
    read_file: dict[str, dict[str, dict[str, list[str]]]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read_file


def test_compose_binds_folders_only() -> None:
    services = compose_file()["services"]
    bound = [(name, volume) for name, service in services.items() for volume in service.get("volumes", ())]
    assert ("grafana", "./k8s/components/monitoring:/dashboards:ro") in bound
    for name, volume in bound:
        source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
        assert not (ROOT / source).is_file(), (name, volume)
    assert "file:" not in (ROOT / "docker-compose.yml").read_text().partition("\nconfigs:")[2]


def pages() -> Iterator[Path]:
    """What people read and copy commands from, and what runs Docker."""
    folders = ("*.md", "docs/**/*.md", "docs/**/*.ipynb", "loadtest/*.md", "k8s/**/*", "Dockerfile.*", "Makefile")
    for pattern in (*folders, "client/*.py", "tests/deploy/*.py", "docker-compose.yml"):
        yield from (path for path in ROOT.glob(pattern) if path.is_file() and path != Path(__file__))


def bound_files(words: str) -> list[str]:
    """Where a command binds a file by itself: it is a setting's, or it has a file's ending."""
    settings = set(FILE_SETTING.findall(words)) | {"/model/model.onnx"}
    targets = [found["target"] for found in BOUND.finditer(words)]
    return [
        target
        for target in targets
        if target in settings or re.search(r"\.\w+$|keys?$", target.replace("/run/keys", ""))
    ]


def test_no_page_binds_a_single_file() -> None:
    found = {path.relative_to(ROOT): files for path in pages() if (files := bound_files(path.read_text()))}
    assert found == {}


@pytest.mark.parametrize(
    "words",
    [
        '-v "$PWD/model.onnx:/model/model.onnx:ro"',
        '-v "$PWD/keys:/run/keys:ro" -e SALVER_API_KEYS_FILE=/run/keys salver-serve',
        "--volume key:/run/salver-key:ro",
    ],
)
def test_a_single_file_in_a_command_is_found(words: str) -> None:
    assert bound_files(words)


def test_the_pages_say_why() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    assert "subPath" in operations
    assert "never the single file" in " ".join(operations.split())


def test_prometheus_and_grafana_listen_on_loopback_whatever_the_service_does() -> None:
    """Grafana has a default password and Prometheus none."""
    services = compose_file()["services"]
    for name in ("prometheus", "grafana"):
        assert [port.rpartition(":")[0].rpartition(":")[0] for port in services[name]["ports"]] == ["127.0.0.1"]
    for name in ("serve", "serve-gpu"):
        assert services[name]["ports"][0].startswith("${SALVER_BIND:-127.0.0.1}:")
    published = list(itertools.chain.from_iterable(service.get("ports", ()) for service in services.values()))
    assert len(published) == 4


def test_every_image_from_a_registry_can_be_named_by_digest() -> None:
    services = compose_file()["services"]
    for name in ("prometheus", "grafana"):
        assert str(services[name]["image"]).startswith(f"${{SALVER_{name.upper()}_IMAGE:-")
    for name, service in services.items():
        if "build" in service:
            assert "SALVER_BASE_IMAGE" in str(service["build"]["args"]), name  # type: ignore[call-overload]
    for path in ROOT.glob("Dockerfile.*"):
        froms = re.findall(r"^FROM (\S+)", path.read_text(), flags=re.MULTILINE)
        assert set(froms) <= {"${BASE}", "dependencies"}, path
        assert re.findall(r"^ARG BASE=\S+", path.read_text(), flags=re.MULTILINE)
