"""Heat and familiarity on the page, in a real browser: pointed at, reached by keys, and where there is none."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.training.dataset.annotate.annotating import ARTEFACTS
from tests.training.report.test_page import opened, shown
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.schema import Estimate, Foreign
from training.report.page_data import page_data
from training.report.report import NO_EPOCHS, metrics_of, write_report

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def evaluation(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """The run's photos, of which one is long, so that much of it is cut off, and one has no familiarity."""
    dataset = Dataset.from_dir(finished_run.parent / "photos")
    long = tmp_path_factory.mktemp("long") / "long.png"
    Image.new("RGB", (240, 80), (255, 255, 255)).save(long)
    images = (*dataset.images, LabelledImage(long, "cup"))
    found = evaluate(finished_run / "model.onnx", Dataset(images, dataset.labels))
    assert found.familiarity is not None
    values = found.familiarity.copy()
    values[0] = np.nan
    return replace(found, familiarity=values)


def alpha(page: Page, place: int, x: float, y: float) -> int:
    """How much of the overlay of a cell covers its picture there, 0 to 255; `x` and `y` are shares of its sides."""
    found: int = page.evaluate(
        """([place, x, y]) => {
            const canvas = document.querySelector(`#cell-${place} canvas.heat`);
            const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1];
            return canvas.getContext("2d").getImageData(...at).data[3];
        }""",
        [place, x, y],
    )
    return found


def opacity(page: Page, place: int) -> str:
    found: str = page.locator(f"#cell-{place} canvas.heat").evaluate("one => getComputedStyle(one).opacity")
    return found


def test_heat_shows_when_a_picture_is_pointed_at_or_reached_by_keys(
    browser: Browser, evaluation: Evaluation, tmp_path: Path
) -> None:
    foreign = Foreign(folder="others", images=4, rejected=Estimate(value=0.75, low=0.3, high=0.95))
    write_report(tmp_path, evaluation, metrics_of(evaluation, foreign=foreign))
    with opened(browser, tmp_path / "report.html") as page:
        expect(page.locator("#cards")).to_contain_text("Foreign photos rejected0.75")
        expect(page.locator("#heat")).to_contain_text(f"{len(evaluation.images)} images have it. One scale")
        expect(page.locator("#heat")).to_contain_text("cut off, not seen by the net")
        page.wait_for_function("() => document.querySelector('#cell-0 canvas.heat').width !== 300")  # the default
        page.mouse.move(0, 0)
        assert opacity(page, 0) == "0"
        page.locator("#cell-0").hover()
        assert opacity(page, 0) == "1"
        page.mouse.move(0, 0)
        page.locator("#grid").focus()
        page.keyboard.press("ArrowRight")
        assert (opacity(page, 0), opacity(page, 1)) == ("0", "1")
        page.keyboard.press("Enter")
        expect(page.locator("#maps button")).not_to_have_count(0)
        expect(page.locator("#large canvas.heat")).to_have_count(1)
        page.screenshot(path=ARTEFACTS / "report-heat.png")
        page.locator("#maps button", has_text="none").click()
        expect(page.locator("#large canvas.heat")).to_have_count(0)
        page.keyboard.press("ArrowRight")  # from the button that was pressed
        expect(page.locator("#cell-2")).to_have_attribute("aria-selected", "true")


def test_what_the_crop_cut_off_is_hatched_and_the_rest_is_not(
    browser: Browser, evaluation: Evaluation, tmp_path: Path
) -> None:
    write_report(tmp_path, evaluation, metrics_of(evaluation))
    with opened(browser, tmp_path / "report.html") as page:
        place = page.evaluate("grid.images.findIndex((image) => image.name === 'long.png')")
        page.evaluate("(place) => grid.moveTo(place)", place)
        page.wait_for_function(
            "(place) => document.querySelector(`#cell-${place} canvas.heat`)?.width > 300", arg=place
        )
        for x in (0.05, 0.3, 0.7, 0.95):
            assert alpha(page, place, x, 0.5) > 100  # the crop is of the middle third, less its margin
        drawn = page.evaluate("Array.from(heat.cells)")
        assert max(map(abs, drawn)) == 127


def test_the_least_familiar_are_sorted_first_and_foreign_ones_filtered(
    browser: Browser, evaluation: Evaluation, tmp_path: Path
) -> None:
    write_report(tmp_path, evaluation, metrics_of(evaluation))
    values, foreign = evaluation.familiarity, evaluation.foreign
    assert values is not None
    assert foreign is not None
    with opened(browser, tmp_path / "report.html") as page:
        page.locator("#order").select_option(label="least familiar first")
        order = page.evaluate("grid.images.map((image) => image.familiarity)")
        assert order[0] is None
        assert order[1:] == sorted(order[1:])
        expect(page.locator("#cell-0")).to_contain_text("familiarity no number, foreign")
        page.locator("#show").select_option("foreign")
        assert shown(page) == int(foreign.sum()) >= 1
        expect(page.locator("#cell-0")).to_have_attribute("aria-label", pattern_of("foreign"))
        page.locator("#cell-0").click()
        expect(page.locator("#answer")).to_contain_text("Familiarityno number, foreign")


def pattern_of(word: str) -> re.Pattern[str]:
    return re.compile(rf"\b{word}\b")


def test_a_report_of_a_model_without_them_has_neither_order_nor_heat(
    browser: Browser, evaluation: Evaluation, tmp_path: Path
) -> None:
    plain = replace(evaluation, familiarity=None, model=None)
    write_report(tmp_path, plain, metrics_of(plain))
    with opened(browser, tmp_path / "report.html") as page:
        expect(page.locator("#order")).to_be_hidden()
        expect(page.locator("#heat")).to_have_text("No heat: the classifier has not been exported.")
        page.locator("#cell-0").click()
        expect(page.locator("#maps")).to_be_hidden()


def test_heat_and_familiarity_cost_the_page_little(evaluation: Evaluation) -> None:
    metrics = metrics_of(evaluation)
    with_heat = page_data(evaluation, metrics, NO_EPOCHS, old=None, max_thumbnails=500)
    without = page_data(
        replace(evaluation, familiarity=None, model=None), metrics, NO_EPOCHS, old=None, max_thumbnails=500
    )
    sizes = [len(json.dumps(json.loads(data.model_dump_json()))) for data in (with_heat, without)]
    each = (sizes[0] - sizes[1]) / len(evaluation.images)
    print(f"heat and familiarity: {each:.0f} bytes an image")  # noqa: T201
    assert each < 400
