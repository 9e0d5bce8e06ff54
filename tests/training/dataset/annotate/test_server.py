import json
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.support.images import encode, picture
from tests.training.dataset.annotate.annotating import annotation_page
from tests.training.support.photos import photo_folder
from training.dataset.annotate.store import AnnotationStore, Change, ChangedElsewhere
from training.dataset.inspection.thumbnails import thumbnail
from training.dataset.reading.annotations import Annotation, read_annotations
from training.errors import DatasetError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotating")
    photo_folder(folder / "photos", {"cup": 3, "bowl": 3})
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "photos" / "turned.jpg").write_bytes(encode(picture(400, 200, 77), "JPEG", exif=exif))
    (folder / "photos" / "cup" / "broken.jpg").write_text("no photo")
    (folder / "photos" / "cup" / "copy.jpg").write_bytes((folder / "photos" / "cup" / "000.jpg").read_bytes())
    return folder / "photos"


@pytest.fixture(scope="module")
def address(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with annotation_page(root, tmp_path_factory.mktemp("cache")) as address:
        yield address


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[httpx.Client]:
    """Came with the token, as the address bar does, and holds the cookie since."""
    base = address.partition("/?")[0]
    with httpx.Client(base_url=base, headers={"Origin": base}, timeout=20) as client:
        assert client.get(address).status_code == 303
        yield client


def change(browser: httpx.Client, name: str, version: str | None = None, **said: str) -> httpx.Response:
    if version is None:
        version = browser.get("/api/version").json()
    return browser.post("/api/annotations", json={"version": version, "changes": [{"name": name, **said}]})


def test_the_token_works_once_and_its_cookie_from_then_on(browser: httpx.Client, address: str) -> None:
    assert browser.get("/").status_code == 200
    assert "default-src 'self'" in browser.get("/").headers["content-security-policy"]
    late = httpx.get(address)
    assert late.status_code == 403
    assert "works once" in late.text
    assert httpx.get(address.partition("?")[0]).status_code == 403


@pytest.mark.parametrize("path", ["/api/page", "/thumbnail?name=cup/000.jpg", "/static/page.js"])
def test_without_the_cookie_nothing_is_given(browser: httpx.Client, path: str) -> None:
    assert browser.get(path).status_code == 200
    assert httpx.get(browser.base_url.join(path)).status_code == 403


def test_another_site_can_neither_read_nor_post(browser: httpx.Client, root: Path) -> None:
    body = {"version": browser.get("/api/version").json(), "changes": [{"name": "cup/000.jpg", "flag": "bad"}]}
    before = read_annotations(root)
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert browser.post("/api/annotations", json=body, headers={"Origin": origin}).status_code == 403
    bare = browser.build_request("POST", "/api/annotations", json=body)
    del bare.headers["Origin"]
    assert browser.send(bare).status_code == 403
    assert browser.get("/api/page", headers={"Host": "evil.example"}).status_code == 403
    assert read_annotations(root) == before


def test_the_page_lists_every_image_with_what_is_said(browser: httpx.Client) -> None:
    page = browser.get("/api/page").json()
    assert page["labels"] == ["bowl", "cup"]
    assert [(image["name"], image["folder"]) for image in page["images"]][-1] == ("turned.jpg", "")
    assert len(page["images"]) == 9


def test_a_change_is_on_disk_when_it_is_answered(browser: httpx.Client, root: Path) -> None:
    assert change(browser, "cup/001.jpg", label="caf\u0065\u0301", flag="bad", note="dark").status_code == 200
    assert read_annotations(root)["cup/001.jpg"] == Annotation("café", "bad", "dark")
    assert change(browser, "cup/001.jpg").status_code == 200
    assert "cup/001.jpg" not in read_annotations(root)


def test_a_change_made_elsewhere_is_noticed_and_not_overwritten(browser: httpx.Client, root: Path) -> None:
    version = browser.get("/api/version").json()
    (root / "annotations.csv").write_text("path,label,flag,note\ncup/002.jpg,bowl,,by hand\n")
    refused = change(browser, "cup/000.jpg", version, flag="bad")
    assert refused.status_code == 409
    assert "changed elsewhere" in refused.json()["detail"]
    assert read_annotations(root) == {"cup/002.jpg": Annotation("bowl", "", "by hand")}


def test_a_name_that_the_folder_does_not_have_is_refused(browser: httpx.Client) -> None:
    assert change(browser, "../secret.jpg", label="cup").status_code == 422
    assert browser.get("/picture", params={"name": "../../etc/passwd"}).status_code == 404


def test_pictures_are_upright_and_an_unreadable_one_says_why(browser: httpx.Client) -> None:
    for path, size in (("/thumbnail", (128, 256)), ("/picture", (200, 400))):
        answer = browser.get(path, params={"name": "turned.jpg"})
        assert Image.open(BytesIO(answer.content)).size == size
    broken = browser.get("/thumbnail", params={"name": "cup/broken.jpg"})
    assert broken.status_code == 422
    assert "not a supported image" in broken.text


def test_duplicates_are_found(browser: httpx.Client) -> None:
    for _ in range(500):
        found = browser.get("/api/duplicates").json()
        if found["done"]:
            break
        threading.Event().wait(0.02)
    assert found == {"done": True, "groups": [["cup/000.jpg", "cup/copy.jpg"]]}


def test_nothing_but_annotations_is_written_in_the_folder(browser: httpx.Client, root: Path) -> None:
    change(browser, "bowl/000.jpg", note="seen")
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    listed = {image["name"] for image in browser.get("/api/page").json()["images"]}
    assert names == listed | {"annotations.csv"}


def test_a_thumbnail_is_made_once_for_each_state_of_a_file(tmp_path: Path) -> None:
    file, kept = tmp_path / "a.png", tmp_path / "kept"
    file.write_bytes(encode(picture(300, 300)))
    first = thumbnail(file, kept)
    (stored,) = kept.rglob("*.jpg")
    marked = first[:-2] + b"from the cache" + first[-2:]
    stored.write_bytes(marked)
    assert thumbnail(file, kept) == marked
    file.write_bytes(encode(picture(300, 200)))
    assert thumbnail(file, kept) not in (marked, first)


def test_of_two_changes_on_one_state_the_second_is_refused(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"cup": 2, "bowl": 2})
    one, two = AnnotationStore(tmp_path), AnnotationStore(tmp_path)
    version = one.state().version
    assert two.state().version == version == "none"
    after = one.change([Change("cup/000.jpg", Annotation("bowl"))], version)
    with pytest.raises(ChangedElsewhere):
        two.change([Change("cup/001.jpg", Annotation("bowl"))], version)
    two.change([Change("cup/001.jpg", Annotation(flag="bad"))], after)
    assert set(read_annotations(tmp_path)) == {"cup/000.jpg", "cup/001.jpg"}


def test_a_broken_table_is_said_before_anything_is_served(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"cup": 1, "bowl": 1})
    (tmp_path / "annotations.csv").write_text(json.dumps({}))
    with pytest.raises(DatasetError, match="no column 'path'"):
        AnnotationStore(tmp_path)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"note": "bell\x07 and \x1b[31m, \x85, \r, \x00"}, True),
        ({"note": "=cmd|' /C calc'!A0"}, True),
        ({"note": "x" * 60_000}, True),
        ({"note": "x" * 131_073}, False),
        ({"label": "a\x1b]0;owned\x07"}, False),
        ({"label": "a\x85b"}, False),
        ({"label": "x" * 256}, False),
        ({"label": "=1+1"}, True),
    ],
)
def test_the_page_is_usable_after_whatever_it_was_told(
    browser: httpx.Client, root: Path, said: dict[str, str], kept: bool
) -> None:
    assert change(browser, "cup/000.jpg", note="before").is_success
    answer = change(browser, "cup/000.jpg", **said)
    assert answer.status_code == (200 if kept else 422), answer.text
    row = next(
        row for row in browser.get("/api/page").raise_for_status().json()["images"] if row["name"] == "cup/000.jpg"
    )
    assert row["note"] == (said.get("note", "") if kept else "before")
    assert row["label"] == (said.get("label", "") if kept else "")
    assert "\n=" not in (root / "annotations.csv").read_text()
    assert change(browser, "cup/000.jpg").is_success


@pytest.mark.parametrize("field", ["name", "label", "note", "flag"])
def test_half_characters_are_the_callers_fault(browser: httpx.Client, field: str) -> None:
    version = browser.get("/api/version").json()
    row = {"name": "cup/000.jpg", field: "\ud800"}
    answer = browser.post("/api/annotations", content=json.dumps({"version": version, "changes": [row]}))
    assert answer.status_code == 422
    assert "\ud800" not in json.dumps(answer.json(), ensure_ascii=False)
    torn = browser.post("/api/annotations", content=json.dumps({"version": "\udcff", "changes": []}))
    assert torn.status_code == 422
