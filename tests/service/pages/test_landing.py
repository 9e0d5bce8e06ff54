"""The page at `GET /`, in a real browser."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from service.pages.routes import LANDING, MEDIA_TYPES
from tests.support.images import photo
from tests.support.live import running_service, service_process, serving_folder, wait_until_ready
from tests.support.models import fixed
from tests.training.dataset.annotate.annotating import ARTEFACTS

pytestmark = [pytest.mark.slow, pytest.mark.server]

LABELS = ("bowl", "cup", "cutlery", "plate")
LOGITS = (-1.2, 2.9, 0.4, -0.3)
PHOTO = photo(320, 240)
DROP = """([name, type, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: transfer }));
}"""
PASTE = """(text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData }));
}"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixed(tmp_path_factory.mktemp("model") / "model.onnx", dict(zip(LABELS, LOGITS, strict=True)))


@pytest.fixture(scope="module")
def service(model: Path) -> Iterator[httpx.Client]:
    with running_service(model, url_fetch="allowlist", url_allowlist="127.0.0.1") as client:
        yield client


@contextmanager
def opened(browser: Browser, service: httpx.Client, **options: object) -> Iterator[Page]:
    """The page; a fault in its console fails the test, and so does a request to anyone but the service."""
    faults: list[str] = []
    addresses: set[str] = set()
    page = browser.new_page(viewport={"width": 1100, "height": 900}, **options)  # type: ignore[arg-type]
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: addresses.add(request.url.split("/")[2]) if "//" in request.url[:8] else None)
    page.goto(str(service.base_url))
    yield page
    page.close()
    assert [fault for fault in faults if "the server responded with a status of 4" not in fault] == []
    assert addresses == {f"127.0.0.1:{service.base_url.port}"}


@pytest.fixture
def page(browser: Browser, service: httpx.Client) -> Iterator[Page]:
    with opened(browser, service) as page:
        expect(page.locator("#facts")).to_contain_text("bowl, cup, cutlery, plate")
        yield page


def drop(page: Page, data: bytes = PHOTO, name: str = "cup.jpg", media_type: str = "image/jpeg") -> None:
    page.evaluate(DROP, [name, media_type, base64.b64encode(data).decode()])


def scored(page: Page) -> list[tuple[str, str]]:
    """Labels and scores as they stand under each other."""
    expect(page.locator("#json")).to_be_visible()
    labels, scores = (page.locator(f"#bars {part}").all_inner_texts() for part in (".label", ".score"))
    return list(zip(labels, scores, strict=True))


def shown_json(page: Page) -> list[dict[str, object]]:
    answer: list[dict[str, object]] = json.loads(page.locator("#json").inner_text())
    return answer


def screenshot(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / name, full_page=True)


def test_a_dropped_file_is_scored_and_its_curl_command_gives_the_same_json(page: Page, tmp_path: Path) -> None:
    name = "anna's cup.jpg"
    drop(page, name=name)
    rows = scored(page)
    assert [label for label, _ in rows] == ["cup", "cutlery", "plate", "bowl"]
    exponents = np.exp(LOGITS)
    assert rows[0][1] == f"{100 * exponents[1] / exponents.sum():.1f} %"
    expect(page.locator("#status")).to_have_text(f"cup {rows[0][1]}")
    expect(page.locator("#preview")).to_be_visible()
    (tmp_path / name).write_bytes(PHOTO)
    command = ["sh", "-c", page.locator("#curl").inner_text().replace("curl ", "curl -s ", 1)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=20)
    assert json.loads(done.stdout) == shown_json(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        screenshot(page, f"page-{scheme}.png")


def test_without_softmax_the_logits_are_shown_as_they_are(page: Page) -> None:
    drop(page)
    scored(page)
    page.get_by_label("Probabilities").uncheck()
    expect(page.locator("#status")).to_have_text("cup 2.900")
    assert scored(page) == [("cup", "2.900"), ("cutlery", "0.400"), ("plate", "-0.300"), ("bowl", "-1.200")]
    np.testing.assert_allclose(np.array(shown_json(page)[0]["scores"]), LOGITS, atol=1e-6)
    assert "softmax" not in page.locator("#curl").inner_text()


def test_a_url_is_scored_by_the_service_whether_typed_or_pasted(page: Page, tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_bytes(PHOTO)
    with serving_folder(tmp_path) as address:
        page.get_by_label("fetch a URL").fill(f"{address}/cup.jpg?it's")
        page.get_by_role("button", name="Score").click()
        assert scored(page)[0][0] == "cup"
        command = ["sh", "-c", page.locator("#curl").inner_text().replace("curl ", "curl -s ", 1)]
        done = subprocess.run(command, capture_output=True, check=True, timeout=20)
        assert json.loads(done.stdout) == shown_json(page)
        page.evaluate(PASTE, f"{address}/absent.jpg")
        expect(page.get_by_role("alert").last).to_contain_text("could not be fetched")
        expect(page.get_by_role("alert").last).to_contain_text("404")
    assert page.locator("#bars li").count() == 0


def test_an_image_that_cannot_be_decoded_gets_the_text_of_the_service(page: Page, service: httpx.Client) -> None:
    for data, media_type in ((PHOTO[:1000], "image/jpeg"), (b"%PDF-1.7", "application/pdf")):
        drop(page, data, "broken", media_type)
        problem = service.post("/score", content=data, headers={"Content-Type": "image/*"}).json()
        expect(page.locator("#problem")).to_have_text(f"{problem['title']}: {problem['detail']}")
        expect(page.locator("#code")).to_be_hidden()


def test_a_key_is_asked_for_refused_when_wrong_and_kept_in_memory_only(browser: Browser, model: Path) -> None:
    with running_service(model, api_keys="right") as service, opened(browser, service) as page:
        key = page.get_by_label("asks for a key")
        expect(key).to_be_focused()
        assert "plate" not in page.content()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#refusal")).to_contain_text("This key was not accepted. A valid key is needed")
        key.fill("right")
        page.keyboard.press("Enter")
        expect(page.locator("#facts")).to_contain_text("plate")
        expect(key).to_be_hidden()
        drop(page)
        scored(page)
        assert '"Authorization: Bearer $SALVER_KEY"' in page.locator("#curl").inner_text()
        kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
        assert "right" not in kept + page.content()
        page.reload()
        expect(key).to_be_focused()
        expect(key).to_have_value("")


def test_a_service_that_went_away_is_told_and_the_page_goes_on_with_another_model(
    browser: Browser, model: Path, tmp_path: Path
) -> None:
    with running_service(model) as service:
        page = browser.new_page()
        page.goto(str(service.base_url))
        expect(page.locator("#facts")).to_contain_text("plate")
    drop(page)
    expect(page.locator("#problem")).to_contain_text("The service did not answer")
    other = fixed(tmp_path / "model.onnx", {"glass": -1.0, "jug": 2.9})
    port = service.base_url.port or 0
    with service_process(other, port, SALVER_DRAIN_SECONDS="0"), httpx.Client(base_url=service.base_url) as again:
        wait_until_ready(again)
        page.get_by_label("Probabilities").uncheck()
        assert scored(page) == [("jug", "2.900"), ("glass", "-1.000")]
        expect(page.locator("#facts")).to_contain_text("glass, jug")
    page.close()


def test_it_fits_a_phone(browser: Browser, service: httpx.Client) -> None:
    with opened(browser, service, is_mobile=True, has_touch=True) as page:
        page.set_viewport_size({"width": 360, "height": 740})
        drop(page)
        scored(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        small = [box for box in (b.bounding_box() for b in page.locator("button:visible").all()) if box is not None]
        assert min(box["height"] for box in small) >= 44
        screenshot(page, "page-phone.png")


def test_everything_is_done_by_keyboard_alone(page: Page, tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_bytes(PHOTO)
    # Asked for before the keys that lead there: Playwright begins to listen a moment after it is told to.
    with page.expect_file_chooser() as chooser:
        for _ in range(3):  # past the two links
            page.keyboard.press("Tab")
        expect(page.locator("#file")).to_be_focused()
        page.keyboard.press("Enter")
    chooser.value.set_files(tmp_path / "cup.jpg")
    assert scored(page)[0][0] == "cup"
    with serving_folder(tmp_path) as address:
        page.keyboard.press("Tab")
        page.keyboard.type(f"{address}/cup.jpg")
        page.keyboard.press("Enter")
        expect(page.locator("#curl")).to_contain_text("image_url")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        expect(page.locator("#status")).to_have_text("cup 2.900")


def test_hostile_labels_stay_text_many_are_shown_when_asked_and_a_threshold_is_told(
    browser: Browser, tmp_path: Path
) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\">"
    logits = {hostile: 5.0, "</script><script>document.title='taken'</script>": 4.0}
    logits |= {f"label {number}": -number / 10 for number in range(20)}
    model = fixed(tmp_path / "model.onnx", logits, thresholds={hostile: 0.9})
    with running_service(model) as service, opened(browser, service) as page:
        drop(page)
        assert [label for label, _ in scored(page)][:2] == list(logits)[:2]
        assert len(scored(page)) == 10
        page.get_by_role("button", name="Show all 22 labels").click()
        assert len(scored(page)) == 22
        expect(page.locator("#status")).to_contain_text(f"no label: the best score, {hostile} ")
        expect(page.locator("#facts")).to_contain_text(f"{hostile} 0.9")
        assert page.title() == "Salver"
        assert page.locator("main img").count() == 1


def test_its_files_have_the_right_types_a_strict_policy_and_are_asked_for_anew(service: httpx.Client) -> None:
    for file in LANDING.iterdir():
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        answer = service.get(path)
        assert answer.headers["content-type"].split(";")[0] == MEDIA_TYPES[file.suffix]
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        again = service.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert not re.search(r"""\bstyle=|\son\w+=|(?:src|href)=["'](?:https?:)?//""", answer.text)
    for path in ("/page/absent.js", "/page/..%2froutes.py", "/page/%2e%2e", "/page/index.html.bak"):
        assert service.get(path).status_code == 404
