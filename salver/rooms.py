"""The rooms beside `salver`, imported by name when something of theirs is used: each needs its own packages only."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parents[1]


class Unavailable(ImportError):
    """Something of ours cannot be imported here: the text says which extra is missing, or which file is in the way."""


def load(module: str, what: str, extra: str) -> ModuleType:
    """A module of ours, for `what` a person named.

    Raises Unavailable.
    """
    room = module.partition(".")[0]
    spec = importlib.util.find_spec(room)
    if spec is None or spec.origin is None or Path(spec.origin).resolve().parent.parent != HERE:
        found = spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), None))
        raise Unavailable(
            f"{what} needs Salver's own '{room}', which lies in {HERE}, and Python finds "
            f"{found or 'nothing'} under that name: rename what is there, or start Python with -P from another folder."
        )
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == room:
            raise
        raise Unavailable(missing(what, error.name, extra), name=error.name) from error


def missing(what: str, package: str | None, extra: str) -> str:
    """What is missing, and how to have it. By the clone's path: no index knows Salver's name."""
    return f"{what} needs the package {package}: in your clone of Salver, run  pip install -e '.[{extra}]'"
