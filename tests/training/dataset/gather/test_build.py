import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.images import photo
from tests.training.dataset.gather.web import Answer, Site, openverse_page, web_site
from tests.training.support.interrupting import Interrupting
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.dataset.gather.build import BuildReport, build
from training.dataset.gather.download import DownloadLimits
from training.dataset.gather.providers import Openverse, Provider, provider
from training.dataset.gather.spec import FolderSource, QuerySource, Source, UrlSource, describe, read_spec
from training.errors import DatasetError, SettingError
from training.progress import Silent

ROOT = Path(__file__).parents[4]
HTML = Answer(b"<!doctype html><p>Not found, but politely</p>")


def run(
    sources: Sequence[Source], out: Path, asked: Provider | None = None, per_query: int = 5, **limits: float
) -> BuildReport:
    chosen = DownloadLimits(**{"timeout_seconds": 20, "retries": 2, **limits})  # type: ignore[arg-type]
    return build(sources, out, asked, per_query=per_query, limits=chosen, progress=Silent())


def rows(out: Path, name: str = "sources.csv") -> list[dict[str, str]]:
    with (out / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def images(out: Path) -> int:
    return len([path for path in out.glob("*/*") if path.is_file()])


def photos(count: int, start: int = 0) -> dict[str, Answer]:
    return {f"/{number}.jpg": Answer(photo(60, 50, start + number)) for number in range(count)}


def test_a_text_is_an_existing_folder_a_url_or_a_query(tmp_path: Path) -> None:
    (tmp_path / "my cups").mkdir()
    spec = {"cup": ["my cups", "HTTPS://example.org/cup.jpg", "coffee cup"], "곽": ["AC/DC poster", "x" * 300]}
    (tmp_path / "spec.json").write_text(json.dumps(spec), encoding="utf-8-sig")
    sources = read_spec(tmp_path / "spec.json")
    assert describe(sources[:4]) == "1 folder, 1 URL, 2 queries: 'coffee cup', 'AC/DC poster'"
    assert sources == (
        FolderSource("cup", tmp_path / "my cups"),
        UrlSource("cup", "HTTPS://example.org/cup.jpg"),
        QuerySource("cup", "coffee cup"),
        QuerySource("곽", "AC/DC poster"),
        QuerySource("곽", "x" * 300),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((name, "is an archive. Unpack it and name the folder") for name in ("x.zip", "x.tar", "x.tar.gz", "x.7z")),
        *((name, "is there, and no folder. Name a folder") for name in ("cup.jpg", "notes", "pipe", "nowhere-link")),
        *((text, "looks like a path, and nothing is there") for text in ("photos.zip", "mug.jpg", "list.csv")),
        *((text, "looks like a path, and nothing is there") for text in ("photos/cup", "./cups", "../cups", "~/cups")),
        *((text, "looks like a path, and nothing is there") for text in ("/data/cups", "cups/", "a\\b", "my cups/red")),
        *((text, "is an address of another kind") for text in ("ftp://a.org/b.jpg", "s3://bucket", "file:///data")),
        *((text, "is an address of another kind") for text in ("data:image/png;base64,AA", "C:\\\\cups", "c:/cups")),
    ],
)
def test_a_file_or_a_path_is_never_sent_to_a_search_provider_as_a_text(tmp_path: Path, text: str, message: str) -> None:
    """Neither the name of a file that is there, nor a path or an address where nothing is."""
    (tmp_path / "my cups").mkdir()
    for name in ("x.zip", "x.tar", "x.tar.gz", "x.7z", "cup.jpg", "notes"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere-link").symlink_to("nowhere")
    (tmp_path / "spec.json").write_text(json.dumps({"cup": [text]}))
    with pytest.raises(DatasetError, match=message):
        read_spec(tmp_path / "spec.json")


@pytest.mark.parametrize(
    "text", ["cup.", "St. Louis cup", "café au lait", "mug no. 5", "C: major", "1/2 cup of tea", "AC/DC mug"]
)
def test_words_with_dots_and_slashes_are_queries(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"cup": [text]}))
    assert read_spec(tmp_path / "spec.json") == (QuerySource("cup", text),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[" + "9" * 5000 + "]", "is not JSON"),
        ('["cup"]', "the whole is not right"),
        ('{"cup": "mug"}', "cup is not right"),
        ('{"a\\u001b[31m": ["mug"]}', r"'a\\x1b\[31m' cannot be a label"),
        ('{"a/b": ["mug"]}', "'a/b' cannot be a label"),
        ('{"..": ["mug"]}', "cannot be a label"),
        ('{"cup": [" "]}', "'cup' has an empty source"),
        ('{"cup": ["mug"], "cup": ["tea cup"]}', "'cup' has 2 entries. Put its sources into one list"),
    ],
)
def test_a_spec_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_spec(tmp_path / "spec.json")


def mixed(site: Site, folder: Path) -> list[Source]:
    return [
        FolderSource("cup", folder),
        UrlSource("cup", site.url("/0.jpg")),
        UrlSource("cup", site.url("/missing.jpg")),
        UrlSource("plate", site.url("/page.jpg")),
        UrlSource("plate", site.url("/cut.jpg")),
        UrlSource("plate", site.url("/slow.jpg")),
        UrlSource("plate", site.url("/1.jpg")),
        QuerySource("bowl", "soup bowl"),
        UrlSource("bowl", "http://127.0.0.1:1/refused.jpg"),
        UrlSource("bowl", "http://[not an address/"),
    ]


def test_what_can_be_had_is_built_and_the_rest_is_reported(tmp_path: Path) -> None:
    photo_folder(tmp_path / "mine", {"x": 2, "y": 2})
    (tmp_path / "mine" / "x" / "broken.jpg").write_text("no photo")
    pages = photos(6, start=100) | {
        "/page.jpg": HTML,
        "/cut.jpg": Answer(photo(60, 50, 200)[:400]),
        "/slow.jpg": Answer(slow=True),
        "/2.jpg": Answer(photo(60, 50, 102), busy=1),
    }
    with web_site(pages) as site:
        pages["/search"] = openverse_page([site.url(f"/{number}.jpg") for number in (2, 3, 4)], 1, 1)
        report = run(
            mixed(site, tmp_path / "mine"), tmp_path / "out", Openverse(site.url("/search")), timeout_seconds=1.5
        )
    assert (report.added, images(tmp_path / "out")) == (9, 9)
    reasons = {failure.source.removeprefix(site.address): failure.reason for failure in report.failures}
    assert set(reasons) == {
        str(tmp_path / "mine" / "x" / "broken.jpg"),
        *("/missing.jpg", "/page.jpg", "/cut.jpg", "/slow.jpg"),
        *("http://127.0.0.1:1/refused.jpg", "http://[not an address/"),
    }
    assert reasons["/missing.jpg"] == "was answered with 404 Not Found"
    assert "an HTML page" in reasons["/page.jpg"]
    assert "truncated or corrupt" in reasons["/cut.jpg"]
    assert reasons["/slow.jpg"] == "took longer than 1.5 s"
    assert len(rows(tmp_path / "out", "failures.csv")) == 7
    assert Dataset.from_dir(tmp_path / "out").counts() == {"bowl": 3, "cup": 5, "plate": 1}
    assert {agent.partition("/")[0] for agent in site.agents} == {"salver"}


def test_a_second_run_fetches_only_what_is_missing(tmp_path: Path) -> None:
    pages = photos(4)
    with web_site(pages) as site:
        pages["/search"] = openverse_page([site.url("/2.jpg"), site.url("/3.jpg")], 1, 1)
        sources: list[Source] = [UrlSource("cup", site.url(f"/{number}.jpg")) for number in (0, 1, 9)]
        sources.append(QuerySource("bowl", "bowl"))
        asked = Openverse(site.url("/search"))
        first = run(sources, tmp_path / "out", asked, per_query=2)
        pages["/9.jpg"] = Answer(photo(60, 50, 9))
        (tmp_path / "out" / rows(tmp_path / "out")[0]["path"]).unlink()
        with (tmp_path / "out" / "sources.csv").open("a") as stream:
            stream.write("cup/torn")  # as a process that was killed leaves it
        second = run(sources, tmp_path / "out", asked, per_query=2)
        third = run(sources, tmp_path / "out", asked, per_query=2)
    assert [(report.added, report.kept, len(report.failures)) for report in (first, second, third)] == [
        (4, 0, 1),
        (2, 3, 0),
        (0, 5, 0),
    ]
    assert site.asked["/search"] == 1
    assert site.asked["/2.jpg"] == 1
    assert len(rows(tmp_path / "out")) == images(tmp_path / "out") == 5


def test_a_build_goes_on_where_ctrl_c_ended_it(tmp_path: Path) -> None:
    with web_site(photos(8)) as site:
        sources = [UrlSource("cup", site.url(f"/{number}.jpg")) for number in range(8)]
        with pytest.raises(KeyboardInterrupt):
            build(
                sources,
                tmp_path / "out",
                None,
                per_query=5,
                limits=DownloadLimits(connections=1),
                progress=Interrupting("fetching", 2),
            )
        before = len(rows(tmp_path / "out"))
        report = run(sources, tmp_path / "out")
    assert before == 3
    assert (report.added, report.kept, images(tmp_path / "out")) == (5, 3, 8)
    assert all(site.asked[f"/{number}.jpg"] == 1 for number in range(3))


def test_origins_are_kept_with_licence_and_author(tmp_path: Path) -> None:
    pages = photos(1)
    with web_site(pages) as site:
        pages["/search"] = openverse_page([site.url("/0.jpg")], 1, 1)
        run([QuerySource("cup", "coffee cup")], tmp_path / "out", Openverse(site.url("/search")))
    (row,) = rows(tmp_path / "out")
    assert row | {"time": "", "sha256": "", "path": ""} == {
        "path": "",
        "label": "cup",
        "url": site.url("/0.jpg"),
        "provider": "openverse",
        "query": "coffee cup",
        "page": "https://example.org/photos/0",
        "licence": "by-sa 4.0",
        "licence_url": "https://creativecommons.org/licenses/by-sa/4.0/",
        "author": "Ann Author",
        "title": "A cup, no. 0 on a table",
        "sha256": "",
        "time": "",
    }
    assert row["path"] == f"cup/{row['sha256'][:16]}.jpg"
    assert row["time"].endswith("+00:00")


def test_copies_are_kept_once_and_not_under_two_labels(tmp_path: Path) -> None:
    same = Answer(photo(60, 50, 5))
    with web_site({"/a.jpg": same, "/b.jpg": same, "/c.jpg": same}) as site:
        sources = [UrlSource(label, site.url(f"/{name}.jpg")) for label, name in (("x", "a"), ("x", "b"), ("y", "c"))]
        report = run(sources, tmp_path / "out", connections=1)
    assert (report.added, report.copies, images(tmp_path / "out")) == (1, 1, 1)
    assert "is the same picture as x/" in report.failures[0].reason


def test_one_host_gets_few_requests_at_once_and_no_more_bytes_than_allowed(tmp_path: Path) -> None:
    with web_site(photos(12) | {"/big.jpg": Answer(b"\xff\xd8\xff" + bytes(200_000))}) as site:
        sources = [UrlSource("cup", site.url(f"/{name}.jpg")) for name in (*range(12), "big")]
        report = run(sources, tmp_path / "out", per_host=2, max_bytes=100_000)
    assert report.added == 12
    assert site.together <= 2
    assert report.failures[0].reason == "has more than 100,000 bytes"


def test_openverse_is_asked_page_by_page_until_there_are_enough(tmp_path: Path) -> None:
    pages = photos(50)
    with web_site(pages) as site:
        for page in (1, 2, 3):
            found = [site.url(f"/{number}.jpg") for number in range(page * 20 - 20, page * 20)]
            pages[f"/search?page={page}"] = openverse_page(found, page, 3)
        report = run([QuerySource("cup", "cup")], tmp_path / "out", Openverse(site.url("/search")), per_query=30)
    assert report.added == 30
    assert site.queries == [{"q": "cup", "page": page, "page_size": "20"} for page in ("1", "2")]


def test_a_query_without_hits_is_a_failure_by_name(tmp_path: Path) -> None:
    with web_site({"/search": openverse_page([], 1, 1)}) as site:
        report = run([QuerySource("bowl", "bowl")], tmp_path / "out", Openverse(site.url("/search")))
    assert [failure.reason for failure in report.failures] == ["openverse finds nothing for it"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            Answer(b'{"detail": "Request was throttled. Expected available in 1 second."}', 429),
            r"openverse allows no more queries for now \(Request was throttled",
        ),
        (Answer(b'{"detail": {"q": ["too long"]}}', 400), r"openverse answered 400 \(.*too long"),
        (Answer(b"<html>", 200), "Openverse answered in a form that is not known"),
    ],
)
def test_a_provider_that_refuses_costs_its_own_images_only(tmp_path: Path, answer: Answer, reason: str) -> None:
    with web_site(photos(1) | {"/search": answer}) as site:
        sources: list[Source] = [QuerySource("cup", "cup"), UrlSource("bowl", site.url("/0.jpg"))]
        report = run(sources, tmp_path / "out", Openverse(site.url("/search")), retries=0)
    (failure,) = report.failures
    assert report.added == 1
    assert failure.source == "query 'cup'"
    assert re.search(reason, failure.reason)


def test_a_provider_that_is_gone_or_unknown_is_refused_with_the_one_there_is() -> None:
    with pytest.raises(SettingError, match=r"retired .* August 2025.*openverse"):
        provider("bing")
    with pytest.raises(SettingError, match="'yahoo' is not a search provider"):
        provider("yahoo")


def test_the_command_ends_with_3_when_parts_are_missing_and_0_when_none_are(tmp_path: Path) -> None:
    with web_site(photos(2)) as site:
        for name, code in (("/1.jpg", 0), ("/7.jpg", 3)):
            spec = {"cup": [site.url("/0.jpg")], "bowl": [site.url(name)]}
            (tmp_path / "spec.json").write_text(json.dumps(spec))
            words = ["-m", "salver", "build", str(tmp_path / "spec.json"), "--out", str(tmp_path / f"out{code}")]
            result = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
            assert result.returncode == code, result.stderr
    assert "1 failed" in result.stdout
    assert "/7.jpg: was answered with 404" in result.stdout
