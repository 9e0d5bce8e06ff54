"""What a service says reaches the caller's terminal as text."""

import json

from typer.testing import CliRunner, Result

from salver.cli import build
from tests.salver.conftest import Service

TITLE = "\x1b]0;owned\x07"
C1 = "\x9b31m"


def score(service: Service, *words: str) -> Result:
    return CliRunner().invoke(build("score"), ["score", *words, "--url", service.url, "--key", "clé-1"])


def test_labels_and_errors_of_a_hostile_service_stay_text(service: Service) -> None:
    top = [{"label": "a", "score": 1}, {"label": C1, "score": 0}]
    answers = [
        {"label": f"cup{TITLE}", "label_index": 0, "score": 1.0, "top": top},
        {"error": {"type": "urn:salver:x", "title": f"bad{C1}", "detail": f"two\nlines{TITLE}"}},
    ]
    service.reply = (200, json.dumps(answers).encode())
    ended = score(service, "http://a/1.jpg", f"http://a/{TITLE}.jpg")
    assert "cup\\x1b]0;owned\\x07 1.0000, \\x9b31m 0.0000" in ended.stdout
    assert "bad\\x9b31m: two\\nlines\\x1b]0;owned\\x07" in ended.stdout
    assert all(line.isprintable() for line in ended.output.splitlines())
    as_json = score(service, "http://a/1.jpg", "http://a/2.jpg", "--json")
    assert all(line.isprintable() for line in as_json.stdout.splitlines())
    assert json.loads(as_json.stdout)[1]["error"]["title"] == f"bad{C1}"


def test_a_refusal_of_a_hostile_service_stays_text(service: Service) -> None:
    problem = {"type": "urn:salver:x", "title": f"no{TITLE}", "detail": C1}
    service.reply = (429, json.dumps(problem).encode())
    ended = score(service, "http://a/1.jpg")
    assert ended.exit_code == 1
    assert "no\\x1b]0;owned\\x07: \\x9b31m" in ended.stderr
    assert all(line.isprintable() for line in ended.stderr.splitlines())


def test_labels_in_any_script_are_printed_as_they_are(service: Service) -> None:
    service.reply = (200, json.dumps([{"label": "Tasse 곽 ☕️", "label_index": 0, "score": 1.0}]).encode())
    assert "Tasse 곽 ☕️ 1.0000" in score(service, "http://a/1.jpg").stdout
