"""Which files an image can get, with secrets and photos lying everywhere in the tree it is built from."""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from docker.utils.build import exclude_paths

from tests.deploy.manifests import K8S, ROOT, Json, each, mapping, text

DOCKERFILES = {
    "fetch": K8S / "fetch" / "Dockerfile",
    "loadtest": ROOT / "loadtest" / "Dockerfile",
    "serve": ROOT / "Dockerfile.serve",
    "train": ROOT / "Dockerfile.train",
}
ROOMS = ("salver", "loadtest", "service", "training")
NOWHERE = ("", *(f"{room}/" for room in ROOMS), "requirements/", "k8s/", "tests/", "service/pages/landing/", ".ssh/")
PLANTED = [
    *(folder + name for folder in NOWHERE for name in (".env", "id_rsa", "key.pem", "service_key", "secret.yaml")),
    *(f"{room}/{name}" for room in (".", *ROOMS) for name in ("runs/a/model.onnx", "photos/anna/1.jpg", ".git/config")),
    *(
        "salver/__pycache__/keys.pyc",
        "k8s/base/secret.yaml",
        "service/model.onnx",
        "k8s/kubeconfig",
        "requirements/pip.conf",
    ),
]
SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(listed.splitlines())


@pytest.fixture(scope="module")
def context(tracked: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what Docker is given of a checkout that has such files in it."""
    tree, given = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("given")
    for name in tracked:
        copy(ROOT / name, tree / name)
    for name in PLANTED:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("secret")
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for name in exclude_paths(str(tree), rules) - {".dockerignore"}:  # which the Python client always sends
        if (tree / name).is_file():
            copy(tree / name, given / name)
    return given


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def of_rooms(tracked: set[str], *rooms: str) -> set[str]:
    """All that git tracks of them but what is written for people."""
    return {name for name in tracked if name.startswith(tuple(f"{room}/" for room in rooms))} - {
        "loadtest/README.md",
        "loadtest/Dockerfile",
    }


def test_docker_is_given_the_code_and_the_locks_and_none_of_the_planted_files(context: Path, tracked: set[str]) -> None:
    wanted = {"LICENSE", "README.md", "pyproject.toml", "k8s/fetch/fetch.py"}
    assert files(context) == of_rooms(tracked, *ROOMS, "requirements", "k8s/base") | wanted
    assert not files(context) & set(PLANTED)


def test_the_images_with_the_salver_command_get_the_wheel_made_of_that(context: Path, tracked: set[str]) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(command, cwd=context, capture_output=True, check=True)
    (wheel,) = (context / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    shutil.rmtree(context / "dist")
    base = {name.replace("k8s/base", "salver/deployment/base") for name in of_rooms(tracked, "k8s/base")}
    assert packed == of_rooms(tracked, *ROOMS) | base


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Each with its words, of every stage; continued lines joined."""
    joined = re.sub(r"#.*\n", "", dockerfile.read_text()).replace("\\\n", " ")
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, words = line.partition(" ")
        yield name, words


def last_stage(dockerfile: Path) -> list[tuple[str, str]]:
    every = list(instructions(dockerfile))
    return every[max(index for index, (name, _) in enumerate(every) if name == "FROM") :]


PACKAGES, CODE = "--from=dependencies /opt/salver /opt/salver", "--from=code /app /app"


@pytest.mark.parametrize(
    ("image", "copied"),
    [
        ("serve", {PACKAGES, CODE}),
        ("train", {PACKAGES, CODE, "--from=code /var/cache/salver /var/cache/salver"}),
        ("loadtest", {PACKAGES, "salver /app/salver", "loadtest /app/loadtest"}),
        ("fetch", {PACKAGES, "k8s/fetch/fetch.py /app/"}),
    ],
)
def test_an_image_copies_its_packages_and_its_code_and_nothing_else(image: str, copied: set[str]) -> None:
    stage = last_stage(DOCKERFILES[image])
    assert {words for name, words in stage if name in ("COPY", "ADD")} == copied


def test_every_dockerfile_is_looked_at() -> None:
    assert set(DOCKERFILES.values()) == {path for path in ROOT.rglob("Dockerfile*") if ".venv" not in path.parts}


def test_every_package_is_locked_with_its_hash_and_installed_by_it() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        entries = re.sub(r"#.*\n", "", lock.read_text()).replace("\\\n", " ").splitlines()
        assert [entry for entry in entries if entry.strip() and "--hash=sha256:" not in entry] == [], lock
    for file in (*DOCKERFILES.values(), ROOT / "Makefile"):
        installed = [line for line in file.read_text().splitlines() if "install " in line and " -r " in line]
        assert installed, file
        assert [line for line in installed if "--require-hashes" not in line] == [], file


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES)
def test_no_arg_or_env_of_an_image_is_there_for_a_secret(dockerfile: Path) -> None:
    """What stands in one can be read in the image's history by whoever has the image."""
    given = " ".join(words for name, words in instructions(dockerfile) if name in ("ARG", "ENV"))
    names = re.findall(r"(?:^| )(\w+)=", given)
    assert "PIP_NO_CACHE_DIR" in names
    assert [name for name in names if SECRET.search(name)] == []


def test_compose_gives_keys_as_files_only() -> None:
    services = mapping(yaml.safe_load((ROOT / "docker-compose.yml").read_text()), "services")
    given = {name: text(one, "environment", name) for one in services.values() for name in mapping(one, "environment")}
    secrets = {name: value for name, value in given.items() if SECRET.search(name)}
    assert secrets == {"SALVER_API_KEYS_FILE": "/run/keys/service_key"}


def parts(value: Json) -> Iterator[Json]:
    """It and all that lies in it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from parts(one)


def test_no_manifest_holds_a_secret_or_a_value_for_one() -> None:
    manifests = sorted(K8S.rglob("*.yaml"))
    assert len(manifests) > 20
    for manifest in manifests:
        for document in yaml.safe_load_all(manifest.read_text()):
            for part in parts(document):
                assert text(part, "kind") != "Secret", manifest
                assert not mapping(part, "stringData"), manifest
                assert not each(part, "secretGenerator"), manifest
                named, value = text(part, "name"), text(part, "value")
                assert not SECRET.search(named) or not value or fnmatch(named, "*_FILE"), (manifest, named)
