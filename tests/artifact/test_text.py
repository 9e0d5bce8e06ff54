import json

import pytest

from artifact.text import counted, printable, printable_json, printable_lines

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
    ("number", "words", "text"),
    [
        (0, ("label",), "0 labels"),
        (1, ("label",), "1 label"),
        (2, ("label",), "2 labels"),
        (1000, ("image",), "1,000 images"),
        (1, ("copy", "copies"), "1 copy"),
        (3, ("copy", "copies"), "3 copies"),
    ],
)
def test_one_thing_is_said_of_one_thing(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text
