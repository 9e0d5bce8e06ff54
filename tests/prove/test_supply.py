"""What the images are made of, and that no secret lies in the tree."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# What asks for source code of whatever is linked with it, or of whatever serves it; MPL asks for its own files only.
REFUSED = ("GPL", "AGPL", "SSPL", "BUSL", "Commons Clause", "Non-Commercial", "NonCommercial")
NVIDIA = ("cuda-", "nvidia-")
NVIDIAS_TERMS = ("train", "serve-gpu")
# What the scanner takes for a secret: file, kind, and what it is.
AUDITED = {
    ("salver/deployment/docker.py", "Base64 High Entropy String"): "the path of a file that holds keys",
    ("k8s/base/deployment.yaml", "Secret Keyword"): "the name of a Secret's entry",
    ("k8s/components/ingress/ingress.yaml", "Secret Keyword"): "the name of a Secret",
    ("training/nets/offline.py", "Hex High Entropy String"): "the sha256 of the weights",
    ("tests/salver/artifact/vectors/vectors.json", "Hex High Entropy String"): "the sha256 of the vectors",
    ("tests/salver/artifact/vectors/vectors.json", "Base64 High Entropy String"): "a vector's name",
    ("docs/walkthrough.ipynb", "Base64 High Entropy String"): "pictures",
    ("tests/service/fetch/test_fetcher.py", "Basic Auth Credentials"): "invented, to be refused",
}


def requirements(lock: str) -> list[Requirement]:
    """The packages of a lock that are installed on this platform."""
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
    wanted = [Requirement(line.removesuffix("\\").strip()) for line in lines if line and line[0] not in " #"]
    return [one for one in wanted if one.marker is None or one.marker.evaluate()]


def plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def assert_may_be_shipped(lock: str, licences: Mapping[str, str]) -> None:
    for package in requirements(lock):
        name = plain(package.name)
        if name.startswith(NVIDIA):
            assert lock in NVIDIAS_TERMS, "NVIDIA's own terms; only the images for GPUs bring them"
            continue
        assert licences[name] not in ("", "UNKNOWN"), name
        assert not any(word in licences[name] for word in REFUSED), (name, licences[name])


@pytest.fixture(scope="module")
def licences() -> dict[str, str]:
    """Of every package that is installed here."""
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--with-system", "--format=json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {plain(row["Name"]): row["License"] for row in found}


@pytest.mark.parametrize("lock", ["serve", "train", "loadtest"])
def test_every_package_of_an_image_has_a_licence_that_lets_us_ship_it(lock: str, licences: dict[str, str]) -> None:
    """Read by pip-licenses from the installed packages."""
    assert_may_be_shipped(lock, licences)


@pytest.mark.index
@pytest.mark.timeout(300)
@pytest.mark.parametrize("lock", ["serve-gpu", "fetch"])
def test_every_package_of_an_image_that_is_not_installed_here_has_such_a_licence_too(lock: str, tmp_path: Path) -> None:
    """Read by pip from the index: `fast-deps` takes the metadata out of a wheel and leaves the rest where it is.

    A check of hashes would take the whole wheels, 2 GB for GPUs, so that names and versions are asked for alone.
    """
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{one.name}{one.specifier}\n" for one in requirements(lock)))
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    command += ["--use-feature=fast-deps", "--report", str(tmp_path / "report.json"), "--requirement", str(names)]
    subprocess.run(command, check=True)
    found = [one["metadata"] for one in json.loads((tmp_path / "report.json").read_text())["install"]]
    assert len(found) == len(requirements(lock))
    assert_may_be_shipped(lock, {plain(one["name"]): stated(one) for one in found})


def stated(metadata: "Mapping[str, str | list[str]]") -> str:
    """The licence, wherever the metadata has it."""
    classifiers = [one for one in metadata.get("classifier", ()) if one.startswith("License ::")]
    return " ".join([str(metadata.get("license_expression") or metadata.get("license") or ""), *classifiers]).strip()


def scan(folder: Path, *words: str) -> dict[str, list[dict[str, str]]]:
    """What detect-secrets finds, by file."""
    command = [sys.executable, "-m", "detect_secrets", "scan", *words]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    results: dict[str, list[dict[str, str]]] = json.loads(found)["results"]
    return results


@pytest.mark.prove
def test_a_scanner_finds_no_secret_in_what_git_tracks(record_property: Callable[[str, object], None]) -> None:
    """In tests every word after `api_keys=` is invented, so that only what looks like a real one counts there."""
    rest = scan(ROOT, "--exclude-files", "^tests/")
    tests = scan(ROOT, "--disable-plugin", "KeywordDetector", "tests")
    assert {(path, one["type"]) for path, found in (rest | tests).items() for one in found} == AUDITED.keys()
    record_property("tried", "every file that git tracks")
    record_property("lost", f"no secret; {len(AUDITED)} findings are known not to be one")


def test_the_scanner_sees_a_planted_key(tmp_path: Path) -> None:
    begin = "-----BEGIN RSA PRIVATE " + "KEY-----"  # in two halves, or it would find it here
    (tmp_path / "id_rsa").write_text(begin)
    assert len(scan(tmp_path, "--all-files")) == 1
