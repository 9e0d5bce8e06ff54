"""What can go wrong in a command, as a message on standard error and an exit code."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from salver.text import printable_lines
from training.errors import Interrupted, TrainingError


@contextmanager
def errors_as_messages(code: int = 1, again: str = "Start the command again.") -> Iterator[None]:
    """Exit code `code` and a message for what a person can mend; 130 for Ctrl-C and 143 for SIGTERM, with what to do
    `again`; a fault of ours keeps its traceback.
    """
    before = signal.signal(signal.SIGTERM, Terminated.raise_)
    try:
        yield
    except (KeyboardInterrupt, Terminated, Interrupted) as error:
        say(f"{str(error) or 'Interrupted.'} {again}")
        raise typer.Exit(128 + getattr(error, "signal", signal.SIGINT)) from None
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        say(f"{error.strerror or error}{place}")
        raise typer.Exit(code) from error
    except TrainingError as error:
        say(str(error))
        raise typer.Exit(code) from error
    finally:
        signal.signal(signal.SIGTERM, before)


class Terminated(BaseException):
    """SIGTERM as an exception, so that what is half-written is cleared away."""

    signal = signal.SIGTERM

    @classmethod
    def raise_(cls, _: int, __: FrameType | None) -> None:
        """The handler of the signal."""
        raise cls("Ended by SIGTERM.")


def say(text: str) -> None:
    """On standard error, once for all processes."""
    if speaks():
        typer.echo(printable_lines(text), err=True)


def show(text: str) -> None:
    """On standard output. Names and labels in the text stay text on a terminal."""
    typer.echo(printable_lines(text))


def speaks() -> bool:
    """Of several processes, which meet the same fault, the first speaks for all; torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"
