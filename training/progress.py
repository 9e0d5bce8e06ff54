"""What a person sees while long work runs: a bar on a terminal, plain lines elsewhere, nothing in a library call."""

from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from salver.text import printable_lines


class Progress(Protocol):
    """One stage of work after another: `begin` opens a stage and ends the one before it."""

    def begin(self, stage: str, total: int) -> None:
        """Start a stage of `total` images."""

    def advance(self, images: int, note: str = "") -> None:
        """So many images more are done; `note` replaces the text beside the bar."""

    def report(self, line: str) -> None:
        """Say a line that stays, whether there is a bar or not."""


class Silent:
    """Says nothing: the default of the Python API."""

    def begin(self, stage: str, total: int) -> None:
        pass

    def advance(self, images: int, note: str = "") -> None:
        pass

    def report(self, line: str) -> None:
        pass


class Shown:
    """On `console`; a context manager, so that the terminal is left as it was also after an error or Ctrl-C."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        self._console = console
        self._bar = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, stage: str, total: int) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(stage, total=total, note="")

    def advance(self, images: int, note: str = "") -> None:
        if self._task is not None:
            self._bar.update(self._task, advance=images, note=note)

    def report(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class Screen(Console):
    """Rich's console, on which file names, labels and what a web site says stay text.

    Control characters in them are written out; the console's own colours are not text.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable_lines(text), **options)
