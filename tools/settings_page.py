"""Writes docs/settings.md out of service/settings.py:  python -m tools.settings_page"""

import ast
import inspect
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from service.settings import PREFIX, Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

The service reads environment variables, once, when it starts. A misspelt one that begins with `SALVER_` is an error
that names it; those of other parts of Salver, such as `SALVER_KEY` and `SALVER_PORT`, are read over. `make docs` writes
this table out of `service/settings.py`; what the settings do together stands in [running the service](operations.md).

| variable | default | meaning |
|---|---|---|
"""


def settings_page() -> str:
    """The whole page."""
    texts = _docstrings()
    return HEAD + "".join(_row(name, field, texts[name]) for name, field in Settings.model_fields.items())


def _docstrings() -> dict[str, str]:
    """The text under each field. Pydantic could collect them, but at each start of the service, in 50 ms."""
    (tree,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(tree, ast.ClassDef)
    return {
        ast.unparse(field.target): " ".join(str(text.value.value).split())
        for field, text in pairwise(tree.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def _row(name: str, field: FieldInfo, text: str) -> str:
    return f"| `{PREFIX}{name.upper()}` | {_default(field)} | {text}{_choices(field)} |\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value == "":
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return ""
    return " One of " + ", ".join(f"`{choice}`" for choice in get_args(field.annotation)) + "."


if __name__ == "__main__":
    PAGE.write_text(settings_page())
