"""The command `salver search`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salver.messages import errors_as_messages
from salver.text import printable, printable_json
from training.ranges import NEAREST

if TYPE_CHECKING:
    from training.report.search import Near

# As in cli/train.py, imports stand inside the function: `salver --help` has to be quick.

EPILOGS = {
    "search": """Examples:

salver search new.jpg photos --model runs/first/model.onnx

salver search new.jpg photos --model model.onnx --count 3 --json""",
}


def search(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The image file to find others like.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of photos: one folder for each label.")],
    *,
    model: Annotated[Path, typer.Option(metavar="MODEL", help="A model file that has the output features.")],
    count: Annotated[int, typer.Option(min=NEAREST.low, max=NEAREST.high, help="How many to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Show the labelled photos that are nearest to a photo, the nearest first.

    Near is what the model's features say: the cosine of two photos' vectors,
    from -1 to 1. A copy of the photo is shown as one.
    """
    with errors_as_messages():
        from training.progress import Screen, Shown
        from training.report.search import search as nearest

        # What is shown goes to standard output, and how far it is to standard error.
        with Shown(Screen(stderr=True)) as progress:
            found = nearest(model, photo, data, count, progress)
        if as_json:
            typer.echo(printable_json(json.dumps([_item(near) for near in found], ensure_ascii=False, indent=2)))
            return
        width = max((len(near.image.label) for near in found), default=0)
        for near in found:
            copy = "  a copy of it" if near.copy else ""
            typer.echo(printable(f"{near.cosine:7.4f}  {near.image.label:<{width}}  {near.image.path}{copy}"))


def _item(near: "Near") -> dict[str, object]:
    return {
        "image": str(near.image.path),
        "name": near.image.name,
        "label": near.image.label,
        "cosine": near.cosine,
        "copy": near.copy,
    }
