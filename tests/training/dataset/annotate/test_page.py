"""The page in a real browser, by keyboard alone."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

from tests.training.dataset.annotate.annotating import ARTEFACTS, annotation_page
from tests.training.support.photos import photo_folder
from training.cli.train import train
from training.dataset.annotate.server import create_app, open_page
from training.dataset.annotate.store import AnnotationStore
from training.dataset.dataset import Dataset
from training.dataset.reading.annotations import Annotation, read_annotations
from training.dataset.reading.doubtful import Doubtful, write_doubtful

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    photo_folder(tmp_path / "photos", {"bowl": 12, "cup": 12, "plate": 12})
    return tmp_path / "photos"


class Failing(AnnotationStore):
    """A store whose list of images fails in a way that nothing foresees, so many times."""

    failures = 0

    def images(self) -> Sequence[str]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no more threads\x1b[2J")
        return super().images()


@contextmanager
def served(data: Path, store: AnnotationStore | None = None) -> Iterator[str]:
    """The page's address. From a thread of this process, which is there at once."""
    page = open_page(data, 0)
    if store is not None:
        page.server.config.app = create_app(store, page.token, page.port)
    thread = threading.Thread(target=page.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{page.port}/?token={page.token}"
    finally:
        page.server.should_exit = True
        thread.join()


@pytest.fixture
def page(browser: Browser, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    faults: list[str] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with served(photos) as address:
        page = browser.new_page(viewport={"width": 1100, "height": 700})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto(address)
        expect(page.locator(".cell.cursor")).to_have_count(1)
        yield page
        page.close()
    assert faults == []


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def saved(photos: Path, rows: dict[str, Annotation]) -> None:
    """The server writes before it answers, and the page asks in order: so the file gets there by itself."""
    for _ in range(500):
        if read_annotations(photos) == rows:
            return
        threading.Event().wait(0.02)
    assert read_annotations(photos) == rows


def test_images_are_labelled_flagged_and_undone_by_keyboard_and_training_uses_it(page: Page, photos: Path) -> None:
    press(page, "2", "3", "2")  # cup, plate, cup; each goes on to the next image
    press(page, "f", "f")
    said = {
        "bowl/000.jpg": Annotation("cup"),
        "bowl/001.jpg": Annotation("plate"),
        "bowl/002.jpg": Annotation("cup"),
        "bowl/003.jpg": Annotation(flag="bad"),
    }
    saved(photos, said | {"bowl/004.jpg": Annotation(flag="bad")})
    press(page, "u")
    expect(page.locator("#undo")).to_be_enabled()
    saved(photos, said)
    page.reload()
    expect(page.locator("#cell-0 .label")).to_have_text("cup")
    expect(page.locator("#cell-1 .label")).to_have_text("plate")
    expect(page.locator("#cell-3 .flag")).to_have_text("bad")
    expect(page.locator("#cell-4 .flag")).to_be_empty()
    expect(page.locator("#labels li", has_text="cup")).to_contain_text("14")
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_function("[...document.querySelectorAll('.cell img')].every((image) => image.complete)")
    page.screenshot(path=ARTEFACTS / "annotate.png")
    dataset = Dataset.from_dir(photos)
    assert dataset.counts() == {"bowl": 8, "cup": 14, "plate": 13}
    assert len(dataset.left_out) == 1


@pytest.mark.torch
def test_a_run_takes_the_labels_that_were_given_and_the_split_and_skips_what_is_broken_only_when_told(
    photos: Path, tmp_path: Path
) -> None:
    (photos / "annotations.csv").write_text("path,label,flag,note\nbowl/000.jpg,cup,,\nbowl/001.jpg,,bad,\n")
    Dataset.write_split(tmp_path / "split.csv", Dataset.from_dir(photos).split(val_size=0.2, test_size=0.2, seed=7))
    placed = (tmp_path / "split.csv").read_text().count(",test,")
    (photos / "plate" / "003.jpg").write_bytes((photos / "plate" / "003.jpg").read_bytes()[:300])
    words = [photos, "--out", tmp_path / "run", "--weights", "none", "--image-size", "64", "--epochs", "1"]
    app = typer.Typer()
    app.command()(train)
    refused = CliRunner().invoke(app, [*map(str, words)])
    assert refused.exit_code == 1
    assert "1 of 35 images cannot be read" in refused.stderr
    assert "plate/003.jpg: The JPEG file is truncated" in refused.stderr
    words += ["--on-bad", "skip", "--split", tmp_path / "split.csv"]
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.stderr
    assert "used 34 of 36, 1 flagged as bad, 1 unreadable" in result.stdout
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["counts"] == {"bowl": 10, "cup": 13, "plate": 11}
    assert record["left_out"] == {"bowl/001.jpg": "flagged as bad", "plate/003.jpg": "unreadable"}
    assert placed - json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["images"] in (0, 1)


def typed(page: Page, *keys: tuple[str, str] | tuple[str, str, bool]) -> None:
    """Keys as another keyboard's layout reports them: what they type, their place on the board, and Shift."""
    for key, code, *shift in keys:
        page.evaluate(
            "([key, code, shiftKey]) => document.activeElement.dispatchEvent("
            "new KeyboardEvent('keydown', {key, code, shiftKey, bubbles: true, cancelable: true}))",
            [key, code, bool(shift and shift[0])],
        )


KEYBOARDS: list[list[tuple[str, str] | tuple[str, str, bool]]] = [
    [("&", "Digit1"), ("é", "Digit2"), ('"', "Digit3"), ("f", "KeyF")],  # French
    [("1", "Digit1", True), ("2", "Digit2", True), ("3", "Digit3", True), ("F", "KeyF", True)],  # French, Shift
    [("1", "Digit1"), ("2", "Digit2"), ("3", "Digit3"), ("а", "KeyF")],  # Russian
    [("+", "Digit1"), ("ě", "Digit2"), ("š", "Digit3"), ("f", "KeyF")],  # Czech
    [("1", "Digit1"), ("2", "Digit2"), ("3", "Digit3"), ("φ", "KeyF")],  # Greek
    [("١", "Digit1"), ("٢", "Digit2"), ("٣", "Digit3"), ("ب", "KeyF")],  # Arabic
    [("1", "Numpad1"), ("2", "Numpad2"), ("3", "Numpad3"), ("Process", "KeyF")],  # Japanese, while it composes
    [("1", "Digit1"), ("2", "Digit2"), ("3", "Digit3"), ("f", "KeyU")],  # Turkish F: letters by what they type
    [("1", ""), ("2", ""), ("3", ""), ("f", "")],  # a keyboard on a screen
]
"""What the keys of three labels and of the flag report."""


def test_keys_do_on_every_keyboard_what_the_help_says(page: Page, photos: Path) -> None:
    given: dict[str, Annotation] = {}
    for number, keys in enumerate(KEYBOARDS):
        images = [
            f"{'bowl' if number < 3 else 'cup' if number < 6 else 'plate'}/{number % 3 * 4 + place:03}.jpg"
            for place in range(4)
        ]
        typed(page, *keys)
        for image, label in zip(images, ("bowl", "cup", "plate"), strict=False):
            if label != image.split("/")[0]:  # it has its folder's already
                given[image] = Annotation(label)
        given[images[3]] = Annotation(flag="bad")
        saved(photos, given)


def test_signs_of_the_row_of_digits_give_no_label(page: Page, photos: Path) -> None:
    """Shift+7 types "/" on a German keyboard and "?" on a Russian one, Shift+2 a quotation mark."""
    typed(page, ('"', "Digit2", True), ("=", "Digit0", True), ("/", "Digit7", True))
    expect(page.locator("#text")).to_be_focused()
    press(page, "Escape")
    typed(page, ("?", "Digit7", True))
    expect(page.locator("#keys")).to_be_visible()
    assert read_annotations(photos) == {}


def test_many_are_selected_labelled_by_typing_and_redone(page: Page, photos: Path) -> None:
    press(page, "/")
    page.keyboard.type("plate/")
    expect(page.locator("#shown")).to_have_text("12 of 36 shown")
    press(page, "Escape", "Control+a", "l")
    page.keyboard.type("dish")
    press(page, "Enter")
    dishes = {f"plate/{number:03d}.jpg": Annotation("dish") for number in range(12)}
    saved(photos, dishes)
    press(page, "Control+z")
    saved(photos, {})
    press(page, "Control+Shift+z")
    saved(photos, dishes)
    press(page, "Escape", "Home", "n")
    page.keyboard.type("chipped")
    press(page, "Enter")
    saved(photos, dishes | {"plate/000.jpg": Annotation("dish", note="chipped")})


def test_filters_show_what_they_name(page: Page, photos: Path) -> None:
    (photos / "new.jpg").write_bytes((photos / "cup" / "000.jpg").read_bytes())
    press(page, "f")
    expect(page.locator("#status")).to_contain_text("saved")
    page.reload()
    for value, count in (("flagged", 1), ("unlabelled", 1), ("label:cup", 12), ("duplicates", 2), ("all", 37)):
        page.locator("#filter").select_option(value)
        expect(page.locator("#shown")).to_have_text(f"{count} of 37 shown")


def test_doubtful_labels_are_shown_first_in_their_order_and_the_suggested_one_is_a_key_or_a_click_away(
    page: Page, photos: Path
) -> None:
    doubtful = [
        Doubtful("plate/003.jpg", "plate", "cup", 0.001),
        Doubtful("gone.jpg", "plate", "cup", 0.002),
        Doubtful("bowl/001.jpg", "bowl", "plate", 0.01),
        Doubtful("cup/000.jpg", "bowl", "cup", 0.01),  # has another label since
        Doubtful("cup/005.jpg", "cup", "bowl", 0.02),
        Doubtful("cup/007.jpg", "cup", "mug", 0.03),
    ]
    expect(page.locator("#filter")).to_have_value("all")
    write_doubtful(photos, doubtful)
    page.reload()
    expect(page.locator("#shown")).to_have_text("4 of 36 shown")
    expect(page.locator("#filter")).to_have_value("doubtful")
    expect(page.locator("#status")).to_contain_text("the most doubtful first")
    expect(page.locator("#cell-0 .name")).to_have_text("plate/003.jpg")
    expect(page.locator("#cell-0 .suggested")).to_have_text("→ cup")
    expect(page.locator("#cell-1 .name")).to_have_text("bowl/001.jpg")
    page.wait_for_function("[...document.querySelectorAll('.cell img')].every((image) => image.complete)")
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / "doubtful.png")
    press(page, "s")
    saved(photos, {"plate/003.jpg": Annotation("cup")})
    page.locator("#cell-1 .suggested").dblclick()
    said = {"plate/003.jpg": Annotation("cup"), "cup/005.jpg": Annotation("bowl")}
    saved(photos, said)
    expect(page.locator("#view")).to_be_hidden()
    expect(page.locator("#shown")).to_have_text("2 of 36 shown")
    press(page, "u")
    saved(photos, {"plate/003.jpg": Annotation("cup")})
    press(page, "Control+a", "s")
    saved(photos, said | {"bowl/001.jpg": Annotation("plate"), "cup/007.jpg": Annotation("mug")})
    expect(page.locator("#shown")).to_have_text("0 of 36 shown")
    press(page, "s")
    expect(page.locator("#status")).to_have_text("no label is suggested here")
    page.reload()
    expect(page.locator("#shown")).to_have_text("36 of 36 shown")


def test_a_search_for_duplicates_that_dies_is_told_and_tried_again_when_it_is_asked_for_again(
    browser: Browser, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it dies of: the page waited for ever."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)  # Python's own writes on the terminal
    (photos / "cup" / "copy.jpg").write_bytes((photos / "cup" / "000.jpg").read_bytes())
    store = Failing(photos)
    store.failures = 1
    with served(photos, store) as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.locator("#shown")).to_have_text("37 of 37 shown")
        page.locator("#filter").select_option("duplicates")
        expect(page.locator("#status")).to_contain_text("duplicates failed (RuntimeError: no more threads")
        expect(page.locator("#status")).not_to_contain_text("\x1b")
        page.locator("#filter").select_option("all")
        page.locator("#filter").select_option("duplicates")
        expect(page.locator("#status")).to_have_text("2 images have duplicates")
        page.close()
    assert [hook.exc_type for hook in told] == [RuntimeError]


def test_annotations_that_cannot_be_read_when_the_page_opens_are_told(browser: Browser, photos: Path) -> None:
    """The page stayed empty without a word; it shows the photos once the file is mended."""
    with served(photos) as address:
        (photos / "annotations.csv").write_text("path;label\n")
        page = browser.new_page()
        page.goto(address)
        expect(page.locator("#status")).to_contain_text("annotations.csv has no column 'path'")
        (photos / "annotations.csv").unlink()
        expect(page.locator("#shown")).to_have_text("36 of 36 shown")
        page.close()


def test_a_new_label_that_looks_like_another_is_refused_with_the_reason(browser: Browser, photos: Path) -> None:
    """Typed into the page's box."""
    with served(photos) as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.locator("#shown")).to_have_text("36 of 36 shown")
        press(page, "l")
        page.locator("#typed").fill("Cup")
        press(page, "Enter")
        expect(page.locator("#status")).to_contain_text("The new label 'Cup' is as good as 'cup'")
        expect(page.locator("#labels li")).to_have_count(3)
        assert not (photos / "annotations.csv").exists()
        press(page, "l")
        page.locator("#typed").fill("mug")
        press(page, "Enter")
        expect(page.locator("#status")).to_have_text("saved: 1 image")
        expect(page.locator("#labels li")).to_have_count(4)
        page.close()


def test_a_change_made_elsewhere_is_shown_and_kept(page: Page, photos: Path) -> None:
    (photos / "annotations.csv").write_text("path,label,flag,note\nbowl/005.jpg,cup,,by hand\n")
    expect(page.locator("#cell-5 .label")).to_have_text("cup")
    expect(page.locator("#status")).to_contain_text("changed elsewhere")
    press(page, "f")
    saved(
        photos,
        {"bowl/000.jpg": Annotation(flag="bad"), "bowl/005.jpg": Annotation("cup", note="by hand")},
    )


def test_the_large_view_follows_the_keys_in_dark_too(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    press(page, "ArrowRight", "Enter")
    expect(page.locator("#about")).to_contain_text("bowl/001.jpg")
    press(page, "ArrowRight", "3")
    expect(page.locator("#about")).to_contain_text("bowl/003.jpg")
    press(page, "Escape")
    expect(page.locator("#view")).to_be_hidden()
    expect(page.locator("#cell-2 .label")).to_have_text("plate")


def test_ten_thousand_images_cost_as_many_elements_as_are_in_sight(browser: Browser, tmp_path: Path) -> None:
    data = (photo_folder(tmp_path / "photos", {"a": 1, "b": 1}).images[0]).read()
    for number in range(10_000):
        (tmp_path / "photos" / "a" / f"{number:05d}.jpg").write_bytes(data)
    with annotation_page(tmp_path / "photos", tmp_path / "cache") as address:
        page = browser.new_page(viewport={"width": 1100, "height": 700})
        page.goto(address)
        expect(page.locator("#shown")).to_have_text("10002 of 10002 shown")
        press(page, "End")
        expect(page.locator(".cell.cursor .name")).to_have_text("b/000.jpg")
        assert page.locator(".cell").count() < 80
        # How long one frame's work is while the grid scrolls through everything, in milliseconds.
        median = page.evaluate(
            """async () => {
                const grid = document.getElementById("grid"), times = [];
                for (let step = 0; step < 40; step += 1) {
                    grid.scrollTop = grid.scrollHeight * step / 40;
                    const start = performance.now();
                    await new Promise(requestAnimationFrame);
                    await new Promise(requestAnimationFrame);
                    times.push(performance.now() - start);
                }
                return times.sort((one, two) => one - two)[20];
            }"""
        )
        page.close()
    assert median < 200
