"""The annotation page, served as `salver annotate` serves it, and a browser to use it with."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[4]
ARTEFACTS = Path(os.environ.get("SALVER_TEST_ARTEFACTS", ROOT / "build" / "test-artefacts"))
"""Where tests leave the screenshots that they take."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def annotation_page(data: Path, cache: Path) -> Iterator[str]:
    """The address that the command prints, token and all; ended when the block is left."""
    command = [sys.executable, "-m", "salver", "annotate", str(data), "--no-browser"]
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(cache), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("open ").strip()
        finally:
            process.terminate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless, and that of the machine: `make test` sees to it that there is one."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("There is no Chromium. Type:  sudo apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
