"""The JSON that `salver build` reads: for each label, where its images come from."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from salver.system.regular_file import read_regular
from salver.text import counted, printable
from training.dataset.reading.alike import refuse_alike
from training.dataset.reading.folder import IMAGE_SUFFIX, nfc
from training.errors import DatasetError


@dataclass(frozen=True)
class FolderSource:
    """Every image below a local folder."""

    label: str
    folder: Path


@dataclass(frozen=True)
class UrlSource:
    """One image on the web."""

    label: str
    url: str


@dataclass(frozen=True)
class QuerySource:
    """What a search provider finds for a text."""

    label: str
    query: str


Source = FolderSource | UrlSource | QuerySource

MAX_BYTES = 64 * 1024**2
"""Of a spec; one with half a million URLs is smaller."""
_ARCHIVE = re.compile(r"\.(7z|bz2|gz|rar|tar|tbz2?|tgz|txz|xz|zip|zst)", re.IGNORECASE)
_FILE = re.compile(r"\.(csv|html?|jsonl?|npy|npz|onnx|parquet|pdf|tsv|txt|xml|ya?ml)", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:(//|\\)|(data|file|mailto):|[a-z]:[\\/]", re.IGNORECASE)
_SPEC = TypeAdapter(dict[str, list[str]])


def read_spec(path: Path) -> tuple[Source, ...]:
    """In the order of the file. A text is a folder where there is one, relative to the file; else an http(s) URL; else
    a query, unless it is a file or looks like a path or an address, which no search provider is to be asked for.

    Raises DatasetError for such a text, a file that cannot be read or is not of that form, a label that is no folder's
    name, and labels that a person takes for one.
    """
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
        labels = _SPEC.validate_json(text, strict=True)
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}. Name a JSON file.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not JSON in UTF-8: {error}.") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        if first["type"] == "json_invalid":
            raise DatasetError(f"{path} is not JSON in UTF-8: {first['msg']}.") from error
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise DatasetError(
            f'{path}: {place} is not right. Write {{"label": ["text query", "folder", "https://image"], …}}.'
        ) from error
    _refuse_second_entry(text, path)
    sources = tuple(source for label, texts in labels.items() for source in _sources(label, texts, path))
    refuse_alike({source.label for source in sources}, str(path))
    return sources


def describe(sources: Sequence[Source]) -> str:
    """How the texts were understood: a folder whose name is misspelt is a query."""
    kinds = Counter(type(source) for source in sources)
    queries = ", ".join(f"'{source.query}'" for source in sources if isinstance(source, QuerySource))
    counts = ", ".join(
        (
            counted(kinds[FolderSource], "folder"),
            counted(kinds[UrlSource], "URL"),
            counted(kinds[QuerySource], "query", "queries"),
        )
    )
    return f"{counts}: {queries}" if queries else counts


def _sources(label: str, texts: list[str], path: Path) -> Iterator[Source]:
    label = nfc(label.strip())
    if (
        not label
        or label in (".", "..")
        or "/" in label
        or "\\" in label
        or label.startswith(".")
        or label != printable(label)
    ):
        raise DatasetError(
            f"{path}: '{printable(label)}' cannot be a label, because each label becomes a folder of that name."
        )
    for text in texts:
        if not text.strip():
            raise DatasetError(f"{path}: '{label}' has an empty source. Write a query, a folder or a URL.")
        folder = path.parent / text
        if _is_url(text):
            yield UrlSource(label, text.strip())
        elif os.path.isdir(folder):  # noqa: PTH112  # Path.is_dir raises for a query that is longer than a name
            yield FolderSource(label, folder)
        elif fault := _fault(text.strip(), folder):
            raise DatasetError(f"{path}: '{label}' has the source '{printable(text)}', which {fault}")
        else:
            yield QuerySource(label, text.strip())


def _is_url(text: str) -> bool:
    return text.strip().lower().startswith(("http://", "https://"))


def _refuse_second_entry(text: str, path: Path) -> None:
    """JSON may name a label twice; all but its last entry would be lost."""

    def checked(pairs: list[tuple[str, object]]) -> None:
        for label, count in Counter(label for label, _ in pairs).items():
            if count > 1:
                raise DatasetError(f"{path}: '{printable(label)}' has {count} entries. Put its sources into one list.")

    json.loads(text, object_pairs_hook=checked)


def _fault(text: str, place: Path) -> str:
    """Why a text that is neither a folder nor a URL cannot be a query either, with advice; empty when it can."""
    suffix = Path(text).suffix
    if os.path.lexists(place):  # see above
        advice = "Unpack it and name the folder" if _ARCHIVE.fullmatch(suffix) else "Name a folder of images"
        return f"is {'an archive' if _ARCHIVE.fullmatch(suffix) else 'there, and no folder'}. {advice}."
    if _SCHEME.match(text):
        return "is an address of another kind than http and https. Name a folder, or a URL that begins with https://."
    looks_like_file = any(ending.fullmatch(suffix) for ending in (_ARCHIVE, _FILE, IMAGE_SUFFIX))
    if looks_like_file or _looks_like_path(text, place):
        return (
            "looks like a path, and nothing is there. Correct it (paths are relative to the JSON file); a text query "
            "has no slashes and no file's ending."
        )
    return ""


def _looks_like_path(text: str, place: Path) -> bool:
    """`AC/DC poster` is a query; `photos/cup`, which has no blank, is not, nor `my photos/cup` beside `my photos`."""
    if text.startswith(("/", "./", "../", "~")) or text.endswith("/") or "\\" in text:
        return True
    beginning = place.parents[text.count("/") - 1] if "/" in text else None
    return beginning is not None and (not re.search(r"\s", text) or os.path.isdir(beginning))  # noqa: PTH112
