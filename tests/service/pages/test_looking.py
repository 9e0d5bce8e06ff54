"""Where the model looked, and that an image is unlike the training photos, on the page at `GET /`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.service.api.test_heat_map import MARK, marked, resized
from tests.service.pages.test_landing import drop, opened, scored, screenshot
from tests.support.complete import complete
from tests.support.images import photo, solid
from tests.support.live import running_service
from tests.support.models import fixed

pytestmark = [pytest.mark.slow, pytest.mark.server]

COLOUR_AT = """([x, y]) => {
    const canvas = document.getElementById("heat");
    const place = [x * canvas.width, y * canvas.height].map(Math.floor);
    return Array.from(canvas.getContext("2d").getImageData(...place, 1, 1).data);
}"""
"""Of the canvas over the preview, at a place from 0 to 1 of both its sides: red, green, blue, alpha."""
SIZE = (1200, 400)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(complete(tmp_path_factory.mktemp("model") / "model.onnx", resized("crop"))) as client:
        yield client


def look(page: Page) -> None:
    page.get_by_label("Where it looked").check()
    expect(page.locator("#heat")).to_be_visible()
    expect(page.locator("#meaning")).not_to_be_empty()


def colour(page: Page, x: float, y: float) -> list[int]:
    """What lies over this pixel of the photo."""
    found: list[int] = page.evaluate(COLOUR_AT, [x / SIZE[0], y / SIZE[1]])
    return found


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_the_heat_lies_on_what_decided_and_what_was_cut_off_is_striped(
    browser: Browser, tmp_path: Path, resize: Literal["crop", "pad", "stretch"], turn: int
) -> None:
    with (
        running_service(complete(tmp_path / "model.onnx", resized(resize))) as service,
        opened(browser, service) as page,
    ):
        drop(page, marked(turn))
        scored(page)
        look(page)
        red, green, _, alpha = colour(page, *MARK)
        assert alpha > 100
        assert red > 2 * green
        assert colour(page, 600, 330)[3] < 15  # grey: seen, and zero
        beside = colour(page, 200, 330)
        cut = resize == "crop"
        assert (beside[3] > 100) == cut
        assert page.locator("#unseen").is_visible() == cut
        expect(page.get_by_role("button", name="red")).to_have_attribute("aria-pressed", "true")
        screenshot(page, f"page-looking-{resize}-{turn}.png")


def test_another_label_shows_its_heat_on_the_same_scale(browser: Browser, service: httpx.Client) -> None:
    with opened(browser, service) as page:
        drop(page, marked(1))
        scored(page)
        page.get_by_role("button", name="red").click()
        expect(page.get_by_label("Where it looked")).to_be_checked()
        expect(page.locator("#meaning")).to_contain_text("Red adds to red")
        scale = page.locator("#most").inner_text()
        page.get_by_role("button", name="green").click()
        expect(page.locator("#meaning")).to_contain_text("Red adds to green")
        assert page.locator("#most").inner_text() == scale
        assert colour(page, *MARK)[3] < 15
        page.get_by_label("Where it looked").uncheck()
        expect(page.locator("#heat")).to_be_hidden()
        expect(page.locator("#legend")).to_be_hidden()


def test_the_next_image_is_looked_at_too_and_one_that_fails_leaves_nothing_over_it(
    browser: Browser, service: httpx.Client
) -> None:
    with opened(browser, service) as page:
        drop(page, marked(1))
        scored(page)
        look(page)
        drop(page, photo(300, 200, seed=3))
        expect(page.locator("#heat")).to_be_visible()
        drop(page, photo(300, 200)[:900])
        expect(page.locator("#problem")).not_to_be_empty()
        expect(page.locator("#heat")).to_be_hidden()
        expect(page.locator("#looking")).to_be_hidden()


def test_a_foreign_image_is_said_to_be_unlike_the_training_photos(browser: Browser, tmp_path: Path) -> None:
    path = complete(tmp_path / "model.onnx")
    for reject in (False, True):
        with running_service(path, reject_foreign=reject) as service, opened(browser, service) as page:
            drop(page, solid((20, 180, 60)), "green.png", "image/png")
            scored(page)
            expect(page.locator("#foreign")).to_contain_text("Unlike the training photos: its familiarity is ")
            if reject:
                expect(page.locator("#status")).to_contain_text("no label: the best was green")
            screenshot(page, f"page-foreign-{reject}.png")
            drop(page, solid((200, 30, 40)), "red.png", "image/png")
            expect(page.locator("#status")).to_contain_text("red")
            expect(page.locator("#foreign")).to_be_empty()


def test_a_file_without_heat_offers_none(browser: Browser, tmp_path: Path) -> None:
    model = fixed(tmp_path / "model.onnx", {"a": 1.0, "b": 2.0})
    with running_service(model) as service, opened(browser, service) as page:
        drop(page)
        scored(page)
        expect(page.locator("#looking")).to_be_hidden()
        assert page.locator("#bars button").count() == 0
        assert "familiarity" not in page.locator("#curl").inner_text()


def test_it_fits_a_phone_with_labels_to_choose(browser: Browser, service: httpx.Client) -> None:
    with opened(browser, service, is_mobile=True, has_touch=True) as page:
        page.set_viewport_size({"width": 360, "height": 740})
        drop(page, marked(1))
        scored(page)
        look(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        boxes = [button.bounding_box() for button in page.locator("button:visible").all()]
        assert min(box["height"] for box in boxes if box is not None) >= 44
        screenshot(page, "page-looking-phone.png")
