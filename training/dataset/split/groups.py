"""Groups by name: `--group-by`, a regular expression over the names of images."""

import re
from collections.abc import Iterable

from training.errors import SettingError


def check_group_by(pattern: str) -> re.Pattern[str]:
    """Raises SettingError for what is no regular expression, or has no group to name the images' groups by."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SettingError(f"--group-by: '{pattern}' is not a regular expression: {error}. Correct it.") from error
    if not expression.groups:
        raise SettingError(f"--group-by: '{pattern}' has no group: put what names the group into parentheses.")
    return expression


def groups_by(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """The group of each name that the expression is found in: what its first parentheses hold there.

    Raises SettingError as `check_group_by` does, and for an expression that is found in no name.
    """
    expression, names = check_group_by(pattern), list(names)
    found = {name: match.group(1) or "" for name in names if (match := expression.search(name))}
    if not found:
        shown = f", such as {names[0]}" if names else ""
        raise SettingError(f"--group-by: '{pattern}' matches no name{shown}. Correct it.")
    return found
