"""What made a model: package versions and the revision of Salver's own source."""

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("salver", "torch", "torchvision", "accelerate", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


def package_versions() -> dict[str, str]:
    """Python's and each package's version; a package that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # Salver itself, run from a checkout
    return versions


def git_revision() -> str | None:
    """The commit of the checkout that this file lies in, with "-dirty" after changes; None outside of one."""
    root = Path(__file__).parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
