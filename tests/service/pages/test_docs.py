"""The page at `GET /docs`, in a real browser."""

import base64
from collections.abc import Iterator
from pathlib import PurePath

import httpx
import pytest
from playwright.sync_api import Page, expect

from service.pages.routes import DOCS, MEDIA_TYPES, SWAGGER_UI
from tests.service.pages.test_landing import screenshot
from tests.support.images import photo
from tests.support.live import running_service
from tests.support.models import probe
from tests.training.dataset.annotate.annotating import chromium

pytestmark = [pytest.mark.slow, pytest.mark.server]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(probe(tmp_path_factory.mktemp("model") / "model.onnx"), api_keys="right") as client:
        yield client


@pytest.fixture
def page(service: httpx.Client) -> Iterator[Page]:
    """A fault in its console fails the test, and so does a request to anyone but the service."""
    faults: list[str] = []
    addresses: set[str] = set()
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on(
            "request", lambda request: addresses.add(request.url.split("/")[2]) if "//" in request.url[:8] else None
        )
        page.goto(f"{service.base_url}/docs")
        yield page
    assert faults == []
    assert addresses == {f"127.0.0.1:{service.base_url.port}"}


def test_the_page_shows_every_operation_and_asks_no_other_host(page: Page, service: httpx.Client) -> None:
    described = [
        (method.upper(), path)
        for path, methods in service.get("/openapi.json").json()["paths"].items()
        for method in methods
    ]
    blocks = page.locator(".opblock-summary")
    expect(blocks).to_have_count(len(described))
    shown = [
        (block.locator(".opblock-summary-method").inner_text(), block.locator("[data-path]").get_attribute("data-path"))
        for block in blocks.all()
    ]
    assert sorted(shown, key=str) == sorted(described)
    assert {method for method, _ in described} == {"GET", "POST"}
    screenshot(page, "docs.png")


def test_a_request_is_tried_with_a_key(page: Page) -> None:
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_role("textbox", name="auth-bearer-value").fill("right")
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").last.click()
    page.locator("[data-path='/score']").click()
    page.get_by_role("button", name="Try it out").click()
    body = f'{{"image_in_base64": "{base64.b64encode(photo(64, 48)).decode()}"}}'
    page.locator("textarea.body-param__text").fill(body)
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(page.locator(".live-responses-table")).to_contain_text('"label":')


def test_its_files_come_from_here_with_a_strict_policy_and_nothing_else_does(service: httpx.Client) -> None:
    names = {"docs.css", "docs.js", *SWAGGER_UI}
    assert {file.name for file in DOCS.iterdir()} | SWAGGER_UI == names | {"docs.html"}
    for path in ("/docs", *(f"/docs/{name}" for name in names)):
        media_type = MEDIA_TYPES[PurePath(path).suffix or ".html"]
        answer = service.get(path)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, media_type)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "http" not in policy
        again = service.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for path in (
        "/redoc",
        "/docs/absent.js",
        "/docs/docs.html",
        "/docs/__init__.py",
        "/docs/..%2froutes.py",
        "/docs/oauth2-redirect",
    ):
        assert service.get(path).status_code == 404
