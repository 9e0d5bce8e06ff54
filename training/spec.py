"""The JSON that `salver build` reads: for each label, where its images come from."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from artifact.regular_file import read_regular
from artifact.text import printable
from training.errors import DatasetError
from training.folder import nfc


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
_SPEC = TypeAdapter(dict[str, list[str]])


def read_spec(path: Path) -> tuple[Source, ...]:
    """In the order of the file. A text is a folder where there is one, relative to the file; else an http(s) URL; else
    a query.

    Raises DatasetError for a file that cannot be read or is not of that form, and a label that is no folder's name.
    """
    try:
        labels = _SPEC.validate_json(read_regular(path, MAX_BYTES).decode("utf-8-sig"), strict=True)
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
    return tuple(source for label, texts in labels.items() for source in _sources(label, texts, path))


def describe(sources: Sequence[Source]) -> str:
    """How the texts were understood: a folder whose name is misspelt is a query."""
    kinds = Counter(type(source) for source in sources)
    queries = ", ".join(f"'{source.query}'" for source in sources if isinstance(source, QuerySource))
    counts = f"{kinds[FolderSource]} folders, {kinds[UrlSource]} URLs, {kinds[QuerySource]} queries"
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
        elif folder.is_dir():
            yield FolderSource(label, folder)
        else:
            yield QuerySource(label, text.strip())


def _is_url(text: str) -> bool:
    return text.strip().lower().startswith(("http://", "https://"))
