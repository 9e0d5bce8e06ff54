"""Takes docs/images/*.png of the real pages, with photos and model that `make demo` leaves:  make screenshots"""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect

from tests.support.live import running_service
from tests.training.dataset.annotate.annotating import annotation_page, chromium
from training.dataset.gather.sample.render import write_sample

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
PHOTOS = ROOT / "runs" / "sample"
MODEL = ROOT / "runs" / "demo" / "model.onnx"
SIZE = {"width": 1100, "height": 700}


def _copied(folder: Path) -> Path:
    """A few of the photos, so that what is annotated stays where it is."""
    for photo in PHOTOS.glob("*/*-00?.jpg"):
        (folder / "photos" / photo.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder / "photos" / photo.parent.name)
    return folder / "photos"


def _keep(picture: bytes, name: str) -> None:
    """In 128 colours, a quarter of the bytes."""
    Image.open(io.BytesIO(picture)).quantize(128).save(IMAGES / name, optimize=True)


def annotate(browser: Browser) -> None:
    """The annotation page, as `salver annotate runs/sample` opens it."""
    with tempfile.TemporaryDirectory() as folder, annotation_page(_copied(Path(folder)), Path(folder)) as address:
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(address)
        expect(page.locator(".cell.cursor")).to_have_count(1)
        page.keyboard.press("2")  # the first photo, a bowl, said to be a cup
        page.keyboard.press("f")
        page.wait_for_load_state("networkidle")
        _keep(page.screenshot(), "annotate.png")


def score(browser: Browser) -> None:
    """The service's page, with a scored photo."""
    photo = min((PHOTOS / "cup").iterdir())
    with running_service(MODEL, url_fetch="off") as service:
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(str(service.base_url))
        page.locator("#file").set_input_files(photo)
        expect(page.locator("#json")).to_be_visible()
        expect(page.locator("#preview")).to_be_visible()
        _keep(page.screenshot(full_page=True), "page.png")


def report(browser: Browser) -> None:
    """The report of photos that the demo's model has not seen: the wrong ones, and a threshold."""
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder) / "photos", seed=1)
        shutil.copy(MODEL, folder)
        words = ["evaluate", MODEL.name, "photos", "--out", "report"]
        subprocess.run([sys.executable, "-P", "-m", "salver", *words], cwd=folder, check=True)
        page = browser.new_page(viewport={"width": 1100, "height": 1240})
        page.goto((Path(folder) / "report" / "report.html").as_uri())
        page.locator("#show").select_option("wrong")
        page.locator("#limit").fill("0.9")
        page.locator("#limit").blur()
        _keep(page.screenshot(), "report.png")


if __name__ == "__main__":
    with chromium() as chrome:
        annotate(chrome)
        score(chrome)
        report(chrome)
