"""The report in a real browser: opened from disk, looked through, and its command applied."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

from salver.cli import build
from tests.support.models import by_colour
from tests.training.dataset.annotate.annotating import ARTEFACTS
from tests.training.evaluation.evaluations import colour_folder, random_evaluation
from tests.training.support.photos import photo_folder
from training.dataset.gather.sample.render import write_sample
from training.dataset.image import LabelledImage
from training.dataset.test_set import read_test_set
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.model_file import ModelFile
from training.evaluation.thresholds import effect
from training.report.report import metrics_of, write_report

pytestmark = [pytest.mark.torch, pytest.mark.slow]

ROOT = Path(__file__).parents[3]


@contextmanager
def opened(browser: Browser, report: Path, width: int = 1200) -> Iterator[Page]:
    """From disk; nothing is fetched, and nothing goes wrong."""
    faults: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: faults.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
    )
    page.goto(report.absolute().as_uri())
    yield page
    page.close()
    assert faults == []


@pytest.fixture(params=["colours", pytest.param("demo", marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def evaluated(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A model and photos: a tiny one that tells colours, or that of the demo and photos it has not seen."""
    if request.param == "colours":
        return by_colour(tmp_path / "model.onnx", gain=6, temperature=0.8), colour_folder(tmp_path / "photos")
    write_sample(tmp_path / "sample", 40)
    write_sample(tmp_path / "photos", 30, seed=1)
    salver(f"salver train {tmp_path / 'sample'} --base mobilenet_v2 --weights offline --out {tmp_path / 'run'}")
    return tmp_path / "run" / "model.onnx", tmp_path / "photos"


def salver(command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "salver"
    result = CliRunner().invoke(build(words[1]), words[1:])
    assert result.exit_code == 0, result.output


def shown(page: Page) -> int:
    return int((page.locator("#shown").text_content() or "").split()[0].replace(",", ""))


def test_the_report_is_looked_through_its_slider_moved_and_its_command_applied(
    browser: Browser, evaluated: tuple[Path, Path], tmp_path: Path
) -> None:
    model, photos = evaluated
    report = tmp_path / "report"
    salver(shlex.join(["salver", "evaluate", str(model), str(photos), "--out", str(report)]))
    dataset = read_test_set(photos).scored
    evaluation = evaluate(model, dataset)
    with opened(browser, report / "report.html") as page:
        wrong = int((~evaluation.right).sum())
        assert wrong > 0
        page.locator("#show").select_option("wrong")
        expect(page.locator("#shown")).to_have_text(f"{wrong} of {len(dataset)} images")
        assert set(page.locator(".cell p:first-of-type").evaluate_all("all => all.map(one => one.className)")) == {
            "wrong"
        }
        page.locator("#show").select_option("all")
        label = evaluation.labels[1]
        moved = _move_slider(page, evaluation, label)
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ARTEFACTS / "report.png", full_page=True)
        page.locator("#show-changed").click()
        assert shown(page) == moved
        page.locator("#copy").click()
        expect(page.locator("#copy")).to_have_text("Copied")
        salver(page.locator("#command").text_content() or "")
    assert ModelFile.read(model).manifest.thresholds == {label: 0.75}
    assert int(evaluate(model, dataset).abstained.sum()) == moved


def _move_slider(page: Page, evaluation: Evaluation, label: str) -> int:
    """To three places; the figures must be Python's. How many images change at the last."""
    page.locator("#thresholded").select_option(label=label)
    figures = []
    for threshold in (0.0, 0.65, 0.75):
        page.locator("#slider").fill(str(threshold))
        wanted = effect(evaluation, label, threshold)
        expect(page.locator("#precision")).to_have_text(f"{wanted.precision.value:.4f}")
        expect(page.locator("#recall")).to_have_text(f"{wanted.recall.value:.4f}")
        expect(page.locator("#accepted")).to_have_text(f"{wanted.accepted} of {wanted.predicted} images")
        figures.append((wanted.precision.value, wanted.accepted, page.locator("#trade .dot").get_attribute("cx")))
    assert len(set(figures)) > 1
    changing = wanted.predicted - wanted.accepted
    assert changing > 0
    expect(page.locator("#changing")).to_contain_text(f"{changing} image")
    return changing


def test_it_is_used_by_keyboard_and_a_cell_of_the_matrix_shows_its_images(browser: Browser, tmp_path: Path) -> None:
    dataset = read_test_set(colour_folder(tmp_path / "photos", 10)).scored
    evaluation = evaluate(by_colour(tmp_path / "model.onnx"), dataset)
    write_report(tmp_path, evaluation, metrics_of(evaluation))
    with opened(browser, tmp_path / "report.html", width=700) as page:
        page.locator("#grid").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator("#view")).to_be_visible()
        second = page.locator("#name").text_content()
        expect(page.locator("#scores li")).to_have_count(3)
        page.keyboard.press("ArrowRight")
        expect(page.locator("#name")).not_to_have_text(second or "")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#name")).to_have_text(second or "")
        page.keyboard.press("Escape")
        expect(page.locator("#view")).to_be_hidden()
        expect(page.locator("#cell-1")).to_have_attribute("aria-selected", "true")
        for truth, predicted in ((0, 0), (1, 2)):
            count = int(evaluation.confusion_matrix[truth, predicted])
            cell = page.locator("#matrix tbody tr").nth(truth).locator("td").nth(predicted).locator("button")
            expect(cell).to_have_text(str(count))
            if count:
                cell.press("Enter")
                assert shown(page) == count
        page.locator("#filters [type=reset]").click()
        page.locator("#low").fill("0.9")
        expect(page.locator("#shown")).to_contain_text(f"{int((evaluation.scores >= 0.9).sum())} of ")
        assert page.evaluate("document.documentElement.scrollWidth") <= 700
        page.emulate_media(color_scheme="dark", media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_two_models_are_compared_in_the_same_viewer(browser: Browser, tmp_path: Path) -> None:
    dataset = read_test_set(colour_folder(tmp_path / "photos", 10)).scored
    new = evaluate(by_colour(tmp_path / "model.onnx"), dataset)
    old = replace(new, logits=new.logits[:, [1, 0, 2]])
    write_report(tmp_path, new, metrics_of(new, old=old), old=old)
    with opened(browser, tmp_path / "report.html") as page:
        page.locator("#show").select_option("changed")
        assert shown(page) == (new.predictions != old.predictions).sum()
        page.locator("#show").select_option("better")
        assert shown(page) == (new.right & ~old.right).sum()
        expect(page.locator("#compared")).to_contain_text("McNemar's test p = ")


def test_ten_thousand_images_are_there_at_once_and_filtered_at_once(browser: Browser, tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", {"a": 20, "b": 20}).images
    evaluation = random_evaluation(10_000, 4)
    labels = tuple(f"label {index}" for index in range(4))
    images = tuple(
        LabelledImage(photos[index % 40].path, labels[truth], f"{labels[truth]}/{index:05d}.jpg")
        for index, truth in enumerate(evaluation.truths.tolist())
    )
    write_report(tmp_path, replace(evaluation, images=images), metrics_of(evaluation))
    with opened(browser, tmp_path / "report.html") as page:
        expect(page.locator("#shown")).to_have_text("10,000 of 10,000 images")
        expect(page.locator("#cut")).to_contain_text("The first 500 have a picture")
        assert page.locator(".cell").count() < 80
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        # From the change of a filter to the frame that shows it, in milliseconds.
        times = page.evaluate(
            """async () => {
                const times = [];
                for (const kind of ["wrong", "right", "all", "wrong", "all"]) {
                    const start = performance.now();
                    document.getElementById("show").value = kind;
                    document.getElementById("show").dispatchEvent(new Event("input", {bubbles: true}));
                    await new Promise(requestAnimationFrame);
                    await new Promise(requestAnimationFrame);
                    times.push(performance.now() - start);
                }
                return times.sort((one, two) => one - two);
            }"""
        )
        page.locator("#show").select_option("wrong")
        assert shown(page) == (~evaluation.right).sum()
        page.screenshot(path=ARTEFACTS / "report-10000.png")
    print(f"10,000 images: first paint after {paint:.0f} ms, a filter {times[2]:.0f} ms")  # noqa: T201
    assert paint < 2000
    assert times[2] < 200
