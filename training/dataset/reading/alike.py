"""Labels that a person takes for one: they differ by case, white space or look-alike characters only."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from salver.text import printable
from training.errors import DatasetError

_LOOK_ALIKE = str.maketrans(
    # Whole letters, of the scripts that are mixed with Latin on keyboards: Cyrillic, Greek, Armenian. Within Latin
    # nothing is taken for something else: 0 and O, or l and 1, are labels that people mean.
    dict(
        zip(
            "АВЕЅІЈКМНОРСТУХҮԁԛԜԝаеѕіјорсухһҽӏѵΑΒΕΖΗΙΚΜΝΟΡΤΥΧανορυικօսոհ",
            "ABESIJKMHOPCTYXYdqWwaesijopcyxhelvABEZHIKMNOPTYXavopuikounh",
            strict=True,
        )
    )
    | dict.fromkeys("‐‑‒–—―−﹘", "-")
    | dict.fromkeys("‘’ʼ′`´", "'")
    | {"ı": "i", "ⅼ": "l", "ɡ": "g", "ɑ": "a"}
)
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}


def alike(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of labels that a person takes for one, in order.

    Labels of one character are apart when the characters are: who sorts letters has both `a` and `A`.
    """
    groups: dict[tuple[Callable[[str], str], str], list[str]] = defaultdict(list)
    for label in sorted(labels):
        for key in (folded, _seen) if len(_clean(label)) > 1 else (_clean,):
            groups[key, key(label)].append(label)
    return sorted({tuple(group) for group in groups.values() if len(group) > 1})


def refuse_alike(labels: Iterable[str], where: str) -> None:
    """Raises DatasetError for labels that are alike; `where` they are is said in it."""
    for group in alike(labels):
        raise DatasetError(
            f"{where} has the labels {described(group)}: {difference(group)}. Give their images one label, or "
            "labels that a person can tell apart."
        )


def described(labels: Sequence[str]) -> str:
    """The labels in quotes, with what cannot be seen or told apart written out."""
    return " and ".join(f"'{printable(label)}'{_spelt(label)}" for label in labels)


def difference(labels: Sequence[str]) -> str:
    """What the labels of a group differ by, in words."""
    if len({_clean(label) for label in labels}) == 1:
        return "they differ by white space, trailing dots, or characters that cannot be seen, only"
    if len({folded(label) for label in labels}) == 1:
        return "they differ by upper and lower case, or by white space, only"
    return "they look alike, and are of different characters"


def _clean(label: str) -> str:
    """Without what cannot be seen, and with one blank for each white space."""
    plain = unicodedata.normalize("NFKC", label)
    shown = "".join(
        character for character in plain if unicodedata.category(character) != "Cf" and character not in _INVISIBLE
    )
    return " ".join(shown.split()).rstrip(". ")


def folded(label: str) -> str:
    """One text for all labels that differ by case, white space and what cannot be seen only."""
    return unicodedata.normalize("NFKC", _clean(label).casefold())


def _seen(label: str) -> str:
    """Letter by letter before the case goes: В looks like B, and в like nothing Latin."""
    return folded(_clean(label).translate(_LOOK_ALIKE))


def _spelt(label: str) -> str:
    """The code points that are not ASCII, and blanks at an end, in brackets."""
    odd = [f"U+{ord(character):04X}" for character in label if not character.isascii() or character == "\t"]
    blanks = ["a blank at its end"] if label != label.strip(" ") else []
    return f" ({', '.join([*odd[:5], *blanks])})" if odd or blanks else ""
