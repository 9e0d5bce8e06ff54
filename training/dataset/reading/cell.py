"""A text as a cell of a CSV file that a person may open in a spreadsheet, which would run `=cmd|…` as a formula.

An apostrophe goes before each place where a formula could begin and comes off when the file is read, so every text
comes back as it was. Such a place is the beginning of the cell, of a line in it, or what follows a `;` or tab, at which
some spreadsheets end a cell although the file has commas. Spaces, quotes and apostrophes may stand before the formula.
"""

import re

_FORMULA = r"(?:[^\S\t\r\n]|['\"])*[=+\-@＝＋－＠\t\r]"
_BEGINS = re.compile(rf"(?<![^;\t\r\n])(?={_FORMULA})")
_MARKED = re.compile(rf"(?<![^;\t\r\n])'(?={_FORMULA})")


def to_cell(text: str) -> str:
    """The text as it stands in the file."""
    return _BEGINS.sub("'", text)


def from_cell(cell: str) -> str:
    """The text; a cell that was written without the apostrophe, by a person or an earlier version, as it is."""
    return _MARKED.sub("", cell)
