"""Texts of strangers (file names, labels, a service's words) on a person's terminal."""

import re
from pathlib import Path
from unicodedata import category

_HIDDEN = ("Cs", "Cc")
_LAYOUT = re.compile("([\n\t])")
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


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things in words: "1 label", "2 labels", "1,000 photos"; `many` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
