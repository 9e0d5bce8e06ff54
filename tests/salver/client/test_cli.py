import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from salver.client.cli import score
from tests.salver.conftest import KEY, Service


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two images and one that is none."""
    for name, data in {"a.jpg": b"123", "long name.jpg": b"1", "bad.jpg": b"broken"}.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, key: str = KEY) -> Result:
    app = typer.Typer()
    app.command()(score)
    return CliRunner().invoke(app, arguments, env={"SALVER_KEY": key})


def test_images_are_listed_with_label_and_score(service: Service, folder: Path) -> None:
    result = run("a.jpg", "long name.jpg", "--url", service.url)
    assert result.stdout == "a.jpg          cup 3.0000\nlong name.jpg  cup 1.0000\n"
    assert result.exit_code == 0


def test_probabilities_of_the_best_labels_are_listed(service: Service, folder: Path) -> None:
    result = run("a.jpg", "long name.jpg", "--url", service.url, "--softmax", "--top-k", "2")
    assert "cup 0.7500, bowl 0.2500" not in result.stdout  # under the threshold
    assert "abstained 0.7500, bowl 0.2500" in result.stdout


def test_familiarity_is_listed_and_a_foreign_image_named(service: Service, folder: Path) -> None:
    known = {"label": "cup", "label_index": 1, "score": 3.0, "scores": [1.0, 3.0], "familiarity": 0.0, "foreign": False}
    strange = known | {"label": None, "abstained": True, "reason": "Unlike.", "familiarity": -0.25, "foreign": True}
    service.reply = (200, json.dumps([known, strange]).encode())
    options = ("a.jpg", "bad.jpg", "--url", service.url, "--familiarity", "--reject-foreign")
    assert run(*options).stdout.splitlines() == [
        "a.jpg    cup 3.0000, familiarity 0.0000",
        "bad.jpg  abstained 3.0000, familiarity -0.2500, unlike the training photos",
    ]
    told = json.loads(run(*options, "--json").stdout)
    assert told == [{"image": "a.jpg"} | known, {"image": "bad.jpg"} | strange]


def test_a_failed_image_is_told_in_its_line_and_in_the_exit_code(service: Service, folder: Path) -> None:
    result = run("bad.jpg", "a.jpg", "none.jpg", "--url", service.url)
    assert result.stdout.splitlines() == [
        "bad.jpg   error: The image cannot be decoded: Do something about it.",
        "a.jpg     cup 3.0000",
        "none.jpg  error: The image cannot be read: none.jpg: No such file or directory.",
    ]
    assert result.exit_code == 1


def test_json_holds_every_score_and_error(service: Service, folder: Path) -> None:
    result = run("a.jpg", "bad.jpg", "--url", service.url, "--json")
    scored, failed = json.loads(result.stdout)
    assert scored == {"image": "a.jpg", "label": "cup", "label_index": 1, "score": 3.0, "scores": [1.0, 3.0]}
    assert failed["error"]["type"] == "urn:salver:undecodable-image"
    assert result.exit_code == 1


def test_the_key_may_be_an_option_or_the_environment(service: Service, folder: Path) -> None:
    assert run("a.jpg", "--url", service.url, "--key", KEY, key="wrong").exit_code == 0
    refused = run("a.jpg", "--url", service.url, key="wrong")
    ways = "give one with --key or in SALVER_KEY.\n"
    assert refused.stderr == f"salver score: The service does not take the key that was sent: {ways}"
    assert refused.exit_code == 1
    assert run("a.jpg", "--url", service.url, key="").stderr == (
        f"salver score: The service needs a key, and none was sent: {ways}"
    )


def test_json_keeps_zeros_and_leaves_out_what_the_service_leaves_out(service: Service, folder: Path) -> None:
    """The first label has the index 0, and a score can be 0.0."""
    item = {"label": "bowl", "label_index": 0, "score": 0.0, "scores": [0.0, -1.0]}
    abstained = {"label": None, "label_index": 0, "score": 0.0, "scores": [0.0, 0.0], "abstained": True}
    top = {"label": "", "label_index": 0, "score": 0.0, "top": [{"label": "", "score": 0.0}]}
    for answer in (item, abstained, top):
        service.reply = (200, json.dumps([answer]).encode())
        assert json.loads(run("a.jpg", "--url", service.url, "--json").stdout) == [{"image": "a.jpg"} | answer]


def test_a_room_whose_packages_are_missing_is_named_with_what_installs_them() -> None:
    """The name `salver` is not in an index, so the way is a clone."""
    missing = (
        "import sys; sys.modules['httpx'] = None; sys.argv = ['salver', 'score', 'a.jpg']\n"
        "from salver.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == (
        "'salver score' needs the package httpx: in your clone of Salver, run  pip install -e '.[client]'\n"
    )


def test_no_message_or_page_installs_salver_from_an_index() -> None:
    """The rooms' modules, the pages and what builds images."""
    root = Path(__file__).parents[3]
    places = [*root.glob("*.md"), *root.glob("*.py"), *root.glob("Dockerfile*"), *root.glob("docs/**/*.*")]
    for room in ("salver", "training", "service", "loadtest", "tools", "k8s"):
        places += [path for path in (root / room).rglob("*") if path.suffix in (".py", ".md", ".yaml", ".js", ".html")]
    named = [path for path in places if path.suffix != ".png" and path.suffix != ".svg" and path.is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in named}
    assert [path for path, text in texts.items() if re.search(r"install '?salver\b", text)] == []


def test_a_service_that_cannot_be_reached_ends_with_2(folder: Path) -> None:
    result = run("a.jpg", "--url", "127.0.0.1:8000")
    assert "salver score: '127.0.0.1:8000' is not the URL of a service" in result.stderr
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:99999", "its port is not one of 1 to 65535"),
        ("http://127.0.0.1:0", "its port is not one of 1 to 65535"),
        ("http://[::1", "write one like http://127.0.0.1:8000"),
        ("htp://me:s3cret@127.0.0.1:1", "write one like http://127.0.0.1:8000"),
        ("http://me:s3cret@127.0.0.1:9", "http://…@127.0.0.1:9/score could not be reached"),
        ("http://me:s3cret@127.0.0.1:99999", "its port is not one of 1 to 65535"),
    ],
)
def test_a_url_that_cannot_be_is_told_without_the_password_in_it(folder: Path, url: str, words: str) -> None:
    result = run("a.jpg", "--url", url)
    assert words in result.stderr
    assert "s3cret" not in result.output
    assert result.exit_code == 2


def test_an_image_under_a_mistyped_scheme_is_no_missing_file(service: Service, folder: Path) -> None:
    result = run("htp://me:s3cret@example.org/a.jpg", "--url", service.url)
    assert "a service fetches http:// and https:// only" in result.stdout
    assert result.stdout.count("s3cret") <= 1  # as the name that was given, not in the message
