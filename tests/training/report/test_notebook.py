"""What a notebook shows, in a page on another port of the same machine, as a notebook's is."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.live import serving_folder
from tests.support.models import by_colour
from tests.training.dataset.annotate.annotating import chromium
from tests.training.evaluation.evaluations import colour_folder, random_evaluation
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.dataset.reading.annotations import Annotation, read_annotations
from training.errors import DatasetError, SettingError
from training.evaluation.evaluate import evaluate
from training.evaluation.metrics import compute_metrics
from training.evaluation.plots import roc_plot
from training.fit.history import Epoch, History
from training.report.annotating import annotate
from training.report.notebook import results_viewer

pytestmark = pytest.mark.torch


@contextmanager
def notebook(folder: Path, *cells: str) -> Iterator[str]:
    """The address of a page that holds the cells."""
    (folder / "notebook.html").write_text("<!doctype html><meta charset=utf-8>" + "".join(cells), encoding="utf-8")

    with serving_folder(folder) as address:
        yield f"{address.replace('127.0.0.1', 'localhost')}/notebook.html"


@pytest.mark.slow
def test_the_results_viewer_and_the_annotation_page_work_inside_a_notebook(tmp_path: Path) -> None:
    photos = colour_folder(tmp_path / "photos", 4)
    dataset = Dataset.from_dir(photos)
    viewer = results_viewer(evaluate(by_colour(tmp_path / "model.onnx"), dataset))
    annotating = annotate(dataset)
    with notebook(tmp_path, viewer._repr_html_(), annotating._repr_html_()) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        results = page.frame_locator("iframe").first
        expect(results.locator("#shown")).to_have_text("12 of 12 images")
        results.locator("#truth").select_option(label="green")
        expect(results.locator("#shown")).to_have_text("4 of 12 images")
        labels = page.frame_locator("iframe").last
        expect(labels.locator("#shown")).to_have_text("12 of 12 shown")
        labels.locator("#cell-0").click()
        labels.locator("#grid").press("2")
        expect(labels.locator("#status")).to_contain_text("saved")
    annotating.close()
    ((name, said),) = read_annotations(photos).items()
    assert (name, said) == ("blue/000.png", Annotation("green"))
    with pytest.raises(httpx.ConnectError):
        httpx.get(annotating.address)


def test_the_annotation_page_may_be_framed_by_this_machine_only_and_by_nobody_outside_of_a_notebook(
    tmp_path: Path,
) -> None:
    photo_folder(tmp_path, {"cup": 1, "bowl": 1})
    annotating = annotate(tmp_path, host="127.0.0.1")
    try:
        answer = httpx.get(annotating.address)
    finally:
        annotating.close()
    assert "frame-ancestors http://127.0.0.1:* http://localhost:*;" in answer.headers["Content-Security-Policy"]


def test_images_of_several_folders_have_no_one_page(tmp_path: Path) -> None:
    images = tuple(LabelledImage(tmp_path / folder / "cup" / "1.jpg", "cup", "cup/1.jpg") for folder in ("a", "b"))
    with pytest.raises(DatasetError, match="lie in 2 folders"):
        annotate(Dataset(images, ("cup", "bowl")))


def test_an_evaluation_without_images_has_no_viewer() -> None:
    with pytest.raises(SettingError, match=r"training\.evaluation\.evaluate"):
        results_viewer(random_evaluation(5, 2))


def test_an_evaluation_its_curves_and_a_history_show_themselves() -> None:
    evaluation = replace(random_evaluation(30, 3), labels=("<i>", "b", "c"))
    shown = evaluation._repr_html_()
    assert f"{evaluation.accuracy:.4f} <small>(" in shown
    assert shown.count('<img alt="" width="640" src="data:image/png;base64,') == 2
    assert "<i>" not in shown
    history = History((Epoch(1, 0.1, 0.5, 0.5, 0.5, 1.0, 0.0, 1.0),))
    for picture in (roc_plot(compute_metrics(evaluation))._repr_png_(), history._repr_png_()):
        assert picture is not None
        with Image.open(io.BytesIO(picture[0])) as image:
            assert image.format == "PNG"
            assert picture[1]["width"] < image.width
    assert History(())._repr_png_() is None
