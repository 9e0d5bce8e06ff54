"""The terminal, on which file names, labels and what a web site says must stay text."""

from typing import Any

from rich.console import Console
from rich.text import Text

from salver.text import printable_lines


class Screen(Console):
    """Rich's console, with control characters in what is printed written out; its own colours are not text."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable_lines(text), **options)
