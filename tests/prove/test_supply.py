"""What the images are made of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# What asks for source code of whatever is linked with it, or of whatever serves it; MPL asks for its own files only.
REFUSED = ("GPL", "AGPL", "SSPL", "BUSL", "Commons Clause", "Non-Commercial", "NonCommercial")
NVIDIA = ("cuda-", "nvidia-")


def locked(lock: str) -> set[str]:
    """The packages of a lock that are installed on this platform."""
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
    wanted = [Requirement(line.removesuffix("\\").strip()) for line in lines if line and line[0] not in " #"]
    return {one.name for one in wanted if one.marker is None or one.marker.evaluate()}


@pytest.fixture(scope="module")
def licences() -> dict[str, str]:
    """Of every package that is installed here."""
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--with-system", "--format=json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {row["Name"].lower().replace("_", "-").replace(".", "-"): row["License"] for row in found}


@pytest.mark.parametrize("lock", ["serve", "train", "loadtest"])
def test_every_package_of_an_image_has_a_licence_that_lets_us_ship_it(lock: str, licences: dict[str, str]) -> None:
    """Read by pip-licenses from the installed packages; serve-gpu is serve with onnxruntime's and NVIDIA's wheels."""
    for package in locked(lock):
        name = package.lower().replace("_", "-").replace(".", "-")
        licence = licences[name]
        if name.startswith(NVIDIA):
            assert lock == "train", "NVIDIA's own terms; only PyTorch's wheels bring them"
            continue
        assert licence != "UNKNOWN", name
        assert not any(word in licence for word in REFUSED), (name, licence)
