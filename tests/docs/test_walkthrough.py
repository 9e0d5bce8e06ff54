"""The notebook from top to bottom, and what each step shows:  make test-docs"""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from PIL import Image
from playwright._impl._driver import compute_driver_executable
from playwright.sync_api import expect

from salver.deployment.deployment import Deployment
from tests.training.dataset.annotate.annotating import chromium
from tools.notebook import LIVE, NOTEBOOK, executed, stored

pytestmark = [pytest.mark.torch, pytest.mark.docs, pytest.mark.timeout(1200)]

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def notebook(folder: Path) -> Iterator[NotebookNode]:
    """As it is after a run, with Node.js on the machine: Playwright brings one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("PATH", str(Path(compute_driver_executable()[0]).parent), prepend=":")
        try:
            yield executed(folder)
        finally:
            Deployment.delete_if_service_exist("walkthrough")


def cell(notebook: NotebookNode, name: str) -> NotebookNode:
    (found,) = (cell for cell in notebook.cells if cell.id == name)
    return found


def text(notebook: NotebookNode, name: str) -> str:
    """What a cell printed."""
    return "".join(output.text for output in cell(notebook, name).outputs if output.get("name") == "stdout")


def kinds(notebook: NotebookNode) -> dict[str, set[str]]:
    """Of each code cell, what it showed: text or the types of what it displayed."""
    return {
        cell.id: {kind for output in cell.outputs for kind in output.get("data", {output.get("name"): ""})}
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def numbers(said: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, said)]


def test_the_stored_notebook_shows_what_a_run_shows(notebook: NotebookNode) -> None:
    kept = nbformat.read(NOTEBOOK, as_version=4)
    assert kinds(kept) == kinds(stored(nbformat.from_dict(notebook)))
    live = [cell.id for cell in kept.cells if LIVE in cell.metadata.get("tags", ())]
    assert live == ["annotate"]
    for found in kept.cells:
        assert not any(output.get("name") == "stderr" for output in found.get("outputs", ())), found.id
        assert "\x1b" not in json.dumps(found.get("outputs", []), ensure_ascii=False), found.id


def test_pictures_of_photos_augmentation_training_and_confusion_are_shown(notebook: NotebookNode) -> None:
    for name in ("sheet", "split", "fit", "confusion"):
        (data,) = (output.data for output in cell(notebook, name).outputs if "image/png" in output.get("data", {}))
        with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
            assert min(picture.size) > 400, name
            assert len(picture.convert("RGB").resize((64, 64)).getcolors() or [1] * 4097) > 8, name


def test_data_set_check_and_annotation_say_what_there_is(notebook: NotebookNode, folder: Path) -> None:
    assert text(notebook, "dataset").startswith("160 images, 4 labels")
    assert "no problems" in text(notebook, "check")
    assert "note='looked at'" in text(notebook, "annotations")
    assert (folder / "walkthrough" / "photos" / "annotations.csv").is_file()
    assert text(notebook, "split").strip() == "{'train': 91, 'validation': 16, 'test': 53}"
    assert text(notebook, "augmented").startswith("91 photos, 182 with their mirror images")


def test_both_ways_to_train_leave_figures_for_tensorboard(notebook: NotebookNode) -> None:
    fine_tuned, svm = text(notebook, "board").splitlines()
    assert "'accuracy/validation'" in fine_tuned
    assert "'confusion matrix', 'worst images'" in svm


def test_the_file_answers_as_the_classifier_did_and_well(notebook: NotebookNode) -> None:
    difference, allowed = numbers(text(notebook, "export").splitlines()[1])
    assert difference <= allowed
    shown = next(output.data["text/html"] for output in cell(notebook, "evaluation").outputs if "data" in output)
    found = re.search(rf"Accuracy, overall</th><td>({NUMBER})", shown)
    assert found is not None
    assert float(found[1]) > 0.85
    assert shown.count("<img") == 2
    same, farthest = text(notebook, "file").splitlines()
    assert same.endswith("True")
    assert numbers(farthest)[0] <= allowed
    assert "'cup' has the threshold 0.5" in text(notebook, "threshold")


def test_the_results_viewer_works_in_the_cell(notebook: NotebookNode) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(cell(notebook, "viewer").outputs[0].data["text/html"])
        viewer = page.frame_locator("iframe")
        expect(viewer.locator("#shown")).to_have_text("53 of 53 images")
        viewer.locator("#show").select_option("wrong")
        expect(viewer.locator("#shown")).to_contain_text("of 53 images")
        expect(viewer.locator("#shown")).not_to_have_text("53 of 53 images")


def test_every_way_to_score_gives_the_same_answer(notebook: NotebookNode) -> None:
    label, score = text(notebook, "node").split()
    by_deployment = text(notebook, "by-deployment")
    assert f"label='{label}'" in by_deployment
    assert f"score={score}" in by_deployment
    assert text(notebook, "by-endpoint").startswith(f"{label} (")
    assert f"the best: {label} = {label}" in text(notebook, "python")
    assert f"{label:12}{float(score):.4f}" in text(notebook, "python")
    ((first, _),) = (answer["top"] for answer in json.loads(text(notebook, "curl")))
    assert first == {"label": label, "score": float(score)}


def test_ten_images_are_timed_and_named_and_the_load_test_passes(notebook: NotebookNode) -> None:
    said = text(notebook, "ten").splitlines()
    assert said[1] == "the same answers: True"
    assert len(said) == 12
    assert "load test: PASSED" in text(notebook, "locust")
    assert re.search(r"failed +0 of [1-9]", text(notebook, "locust"))
    assert text(notebook, "end").strip() == "still there: False"
