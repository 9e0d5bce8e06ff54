import base64
import io
import json
from pathlib import Path

import pytest
import requests
from PIL import Image

from loadtest.errors import LoadTestError
from loadtest.traffic.file_server import FileServer
from loadtest.traffic.payload import LARGEST_IN_LIST, Kind, Payloads
from loadtest.traffic.photos import SIZES, Photo, from_folder, rendered
from tests.support.images import photo
from tests.support.live import needs_ipv6

SMALL = rendered({"thumbnail": 1})


@pytest.mark.slow
def test_the_photos_have_their_sizes_and_a_photos_bytes() -> None:
    pool = rendered({"thumbnail": 1, "vga": 1, "phone": 2})
    sizes = {Image.open(io.BytesIO(photo.data)).size for photo in pool}
    assert sizes == set(SIZES.values())
    for one in pool:
        width, height = Image.open(io.BytesIO(one.data)).size
        assert 0.1 < len(one.data) / (width * height) < 0.6
    assert len({one.data for one in pool}) == len(pool)


def test_a_folders_files_are_sent_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "cup").mkdir()
    (tmp_path / "cup" / "a.jpg").write_bytes(photo(20, 20))
    (tmp_path / "b.png").write_bytes(photo(20, 20, form="PNG"))
    (tmp_path / "notes.txt").write_text("no image")
    assert {one.media_type for one in from_folder(tmp_path)} == {"image/jpeg", "image/png"}


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="holds no image files"):
        from_folder(tmp_path)
    with pytest.raises(LoadTestError, match="is not a folder"):
        from_folder(tmp_path / "none")


def test_each_kind_is_a_request_of_the_scoring_api() -> None:
    payloads = Payloads(SMALL, list(Kind), [f"http://127.0.0.1/{place}" for place in range(len(SMALL))])
    one, several = payloads.choose(Kind.BASE64), payloads.choose(Kind.LIST)
    (item,) = json.loads(one.body)
    assert base64.b64decode(item["image_in_base64"]) == SMALL[one.photos[0]].data
    assert item["parameters"] == {"add_softmax": one.softmax}
    assert len(json.loads(several.body)) == len(several.photos) == 8
    assert payloads.choose(Kind.RAW).body.startswith(b"\xff\xd8")
    assert json.loads(payloads.choose(Kind.URL).body)[0]["image_url"].startswith("http://127.0.0.1/")
    assert {payload.refusal.status for _ in range(100) if (payload := payloads.choose(Kind.BROKEN)).refusal} == {
        413,
        422,
    }


def test_softmax_is_asked_for_and_not() -> None:
    payloads = Payloads(SMALL, [Kind.BASE64], [])
    assert {payloads.choose(Kind.BASE64).softmax for _ in range(100)} == {True, False}


def test_a_body_is_made_once() -> None:
    payloads = Payloads(SMALL, [Kind.BASE64], [])
    assert len({id(payloads.choose(Kind.BASE64).body) for _ in range(1000)}) == 2 * len(SMALL)


def test_lists_of_large_photos_are_refused() -> None:
    large = Photo(b"\xff\xd8" * LARGEST_IN_LIST, "image/jpeg", 1)
    with pytest.raises(LoadTestError, match="leave 'list' out of --mix"):
        Payloads([large], [Kind.LIST], [])


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_the_file_server_gives_the_photos_and_nothing_else(host: str) -> None:
    server = FileServer(SMALL[:2], host)
    assert [requests.get(url, timeout=5).content for url in server.urls] == [one.data for one in SMALL[:2]]
    for path in ("2", "-1", "../etc/passwd", "x"):
        assert requests.get(f"{server.urls[0].rsplit('/', 1)[0]}/{path}", timeout=5).status_code == 404
