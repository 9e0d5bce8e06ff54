"""Names, labels and strangers' words on the terminal of the commands that train."""

import io
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from salver.cli import build
from tests.training.support.photos import photo_folder
from training.progress import Screen

TITLE = "\x1b]0;owned\x07"


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_text_is_written_out_wherever_it_is_printed_and_colours_are_colours() -> None:
    console = Screen(file=io.StringIO(), force_terminal=True, width=120, color_system="standard")
    table = Table(f"head{TITLE}")
    table.add_row(f"cell\x9b31m{TITLE}")
    console.print(table)
    console.print(f"line{TITLE}\nnext", style="red", markup=False, highlight=False)
    text = printed(console)
    assert "\x1b[31m" in text
    assert "head\\x1b]0;owned\\x07" in text
    assert "cell\\x9b31m\\x1b]0;owned\\x07" in text
    assert "line\\x1b]0;owned\\x07" in text
    assert TITLE not in text
    assert "\x9b" not in text


def test_what_is_honest_is_printed_as_rich_prints_it() -> None:
    shown = []
    for kind in (Console, Screen):
        console = kind(file=io.StringIO(), width=60)
        console.print("[bold]Tasse 곽 ☕️[/bold]", "a\tb\nc", 12)
        shown.append(printed(console))
    assert shown[0] == shown[1]


def test_no_command_prints_what_a_name_tells_the_terminal_to_do(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photo_folder(photos, {"cup": 3, "bowl": 3})
    (photos / "cup" / f"bad{TITLE}\x9b31m.jpg").write_bytes(b"no photo")
    (photos / "cup" / os.fsdecode(b"\xff.jpg")).write_bytes(b"no photo either")
    (tmp_path / "spec.json").write_text('{"cup": ["photos", "http://127.0.0.1:9/\\u001b]0;owned\\u0007.jpg"]}')
    for line in (
        ["check", str(photos)],
        ["split", str(photos)],
        ["build", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")],
        ["check", str(tmp_path / f"none{TITLE}")],
    ):
        ended = CliRunner().invoke(build(line[0]), line)
        assert ended.exception is None or isinstance(ended.exception, SystemExit)
        assert ended.output
        assert all(text.isprintable() for text in ended.output.splitlines()), ended.output
