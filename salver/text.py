"""Texts of strangers (file names, labels, a service's or a library's words) as a person is to read them."""

import re
from pathlib import Path
from unicodedata import category

_HIDDEN = ("Cs", "Cc")
_LAYOUT = re.compile("([\n\t])")
_LOGIN = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)?[^?#\s]*@")
"""Up to the last @: a password can hold what should have been escaped, and a URL can lack its scheme."""
_RAW_IN_JSON = re.compile("[\x7f-\x9f\ud800-\udfff]")


def printable(text: Path | str) -> str:
    """The text, with bytes that are not UTF-8 and control characters written out: a terminal would obey the latter."""
    return "".join(
        character if category(character) not in _HIDDEN else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines, with tabs in them."""
    return "".join(piece if piece in ("\n", "\t") else printable(piece) for piece in _LAYOUT.split(text))


def printable_json(text: str) -> str:
    """JSON that means the same: what `json.dumps` leaves as it is and a terminal obeys, such as U+009B, is escaped."""
    return _RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def without_login(url: str) -> str:
    """The URL for messages and reports: who reads those is not to learn the user and password that may stand in it."""
    return _LOGIN.sub(r"\1…@", url)


def counted(number: float, noun: str, plural: str = "") -> str:
    """`1 image`, `2 images`."""
    amount = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{amount} {noun if number == 1 else plural or noun + 's'}"


def reason(error: BaseException | None) -> str:
    """What went wrong, on one line, without the number and the names that an OSError puts around it."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())


def validation_message(message: str) -> str:
    """What pydantic says of a value, without the kind of Python's error that it puts before a sentence of ours."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
