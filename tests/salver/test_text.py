import json

import pytest

from salver.text import (
    counted,
    printable,
    printable_json,
    printable_lines,
    reason,
    validation_message,
    without_login,
)

TITLE = "\x1b]0;owned\x07"


@pytest.mark.parametrize("honest", ["café", "곽", "👩‍🍳", "a\u200fb", "two  spaces", "=1+1", "\\x1b"])
def test_text_of_every_script_stays_as_it_is(honest: str) -> None:
    assert printable(honest) == printable_lines(honest) == printable_json(honest) == honest


def test_control_characters_and_half_characters_are_written_out() -> None:
    assert printable(f"{TITLE}\x9b31m\udcff\r\n") == "\\x1b]0;owned\\x07\\x9b31m\\udcff\\r\\n"
    assert printable_lines("one\x1b[2J\n\ttwo\r\n") == "one\\x1b[2J\n\ttwo\\r\n"


def test_json_means_the_same_and_holds_nothing_that_a_terminal_obeys() -> None:
    content = {"label": f"{TITLE}\x9b31m", "name": "a\udcff.jpg", "é": "\x7f"}
    text = printable_json(json.dumps(content, ensure_ascii=False, indent=2))
    assert json.loads(text) == content
    assert printable_lines(text) == text
    assert "é" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1.0, "1 image"), (0.5, "0.5 images"), (1200, "1,200 images")],
)
def test_one_of_a_thing_is_not_several(number: float, text: str) -> None:
    assert counted(number, "image") == text
    assert counted(2, "search", "searches") == "2 searches"


def test_a_reason_is_the_words_alone() -> None:
    assert reason(FileNotFoundError(2, "No such file or directory", "/a")) == "No such file or directory"
    assert reason(OSError("the store\nsays no")) == "the store says no"
    assert reason(ValueError("two\n  lines")) == "two lines"


def test_a_sentence_of_ours_comes_without_the_name_of_pythons_error() -> None:
    assert validation_message("Value error, too many") == "too many"
    assert validation_message("Input should be a valid number") == "Input should be a valid number"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:pw@h:80/score", "http://…@h:80/score"),
        ("htp://me:p@w@h", "htp://…@h"),
        ("http://me:p/w@h", "http://…@h"),
        ("me:pw@h:80", "…@h:80"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://h/score?mail=a@b", "http://h/score?mail=a@b"),
    ],
)
def test_a_login_in_a_url_is_never_shown(url: str, shown: str) -> None:
    assert without_login(url) == shown
