"""What can go wrong in a command, as a message on standard error and an exit code."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import typer

from salver.errors import Interrupted, SalverError
from salver.text import printable_lines, reason


@contextmanager
def errors_as_messages(
    code: int = 1,
    again: str = "Start the command again.",
    *,
    command: str = "",
    codes: Mapping[type[SalverError], int] | None = None,
    so_far: Callable[[], str] | None = None,
) -> Iterator[None]:
    """Exit code `code` and a message for what a person can mend; 130 for Ctrl-C and 143 for SIGTERM, with what to do
    `again` or what there is `so_far`; a fault of ours keeps its traceback.

    The name of a `command` stands before what is wrong; without it, only the first of several processes speaks. `codes`
    has the kinds of error that have a code of their own.
    """
    before = signal.signal(signal.SIGTERM, Terminated.raise_)
    try:
        yield
    except (KeyboardInterrupt, Terminated, Interrupted) as error:
        said = f"Interrupted; {so_far()}." if so_far else f"{str(error) or 'Interrupted.'} {again}"
        _complain("", said.strip(), once=not command)
        raise typer.Exit(128 + getattr(error, "signal", signal.SIGINT)) from None
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        _complain(command, f"{reason(error)}{place}", once=not command)
        raise typer.Exit(code) from error
    except SalverError as error:
        _complain(command, str(error), once=not command)
        raise typer.Exit((codes or {}).get(type(error), code)) from error
    finally:
        signal.signal(signal.SIGTERM, before)


class Terminated(BaseException):
    """SIGTERM as an exception, so that what is half-written is cleared away."""

    signal = signal.SIGTERM

    @classmethod
    def raise_(cls, _: int, __: FrameType | None) -> None:
        """The handler of the signal."""
        raise cls("Ended by SIGTERM.")


def show(text: str) -> None:
    """On standard output. Names and labels in the text stay text on a terminal."""
    typer.echo(printable_lines(text))


def tell(text: str) -> None:
    """On standard error."""
    typer.echo(printable_lines(text), err=True)


def speaks() -> bool:
    """Of several processes, which meet the same fault, the first speaks for all; torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"


def _complain(command: str, text: str, *, once: bool) -> None:
    if not once or speaks():
        tell(f"salver {command}: {text}" if command else text)
