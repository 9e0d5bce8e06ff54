"""What the annotation page and its server say to each other."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from salver.text import printable
from training.dataset.annotate.store import AnnotationStore
from training.dataset.inspection.files import Stamp
from training.dataset.reading.annotations import Annotation
from training.dataset.reading.doubtful import read_doubtful
from training.dataset.reading.folder import natural_order, nfc


class ImageRow(BaseModel):
    """`folder` is the label of the folder, `label` what an annotation says; `stamp` changes with the file."""

    name: str
    folder: str
    label: str
    flag: Literal["", "bad"]
    note: str
    stamp: str


class Doubt(BaseModel):
    """A photo's label that the other photos contradict, and the one that they suggest."""

    name: str
    label: str
    suggested: str
    probability: float
    """Of `label`."""


class Page(BaseModel):
    """Everything that the page shows, but the pictures."""

    root: str
    version: str
    labels: list[str]
    images: list[ImageRow]
    unnamed: int
    """Images that are not shown because their names are not UTF-8."""
    doubts: list[Doubt]
    """Of doubtful.csv, the most doubtful first."""


class ChangeRow(BaseModel):
    """What an image's row in annotations.csv is to be."""

    name: str
    label: str = ""
    flag: Literal["", "bad"] = ""
    note: str = ""


class Changes(BaseModel):
    """Made on the state `version`."""

    version: str
    changes: list[ChangeRow]


class Duplicates(BaseModel):
    """Groups of names of identical and nearly identical images, once the search for them is `done`."""

    done: bool
    groups: list[list[str]]


def page_of(store: AnnotationStore) -> Page:
    """As it is on disk now. Raises DatasetError."""
    state = store.state()
    rows = []
    named = [image for image in state.folder.images if printable(image.name) == image.name]
    names = {nfc(image.name): image.name for image in named}
    for image in named:
        said = state.annotations.get(nfc(image.name), Annotation())
        rows.append(
            ImageRow(
                name=image.name,
                folder=image.label or "",
                label=said.label,
                flag=said.flag,
                note=said.note,
                stamp=_stamp(image.path),
            )
        )
    labels = {*state.folder.labels, *(row.label for row in rows)} - {""}
    return Page(
        root=str(store.root),
        version=state.version,
        labels=sorted(labels, key=natural_order),
        images=rows,
        unnamed=len(state.folder.images) - len(named),
        doubts=[
            Doubt(name=names[one.name], label=one.label, suggested=one.suggested, probability=one.probability)
            for one in read_doubtful(store.root)
            if one.name in names
        ],
    )


def _stamp(path: Path) -> str:
    return f"{Stamp.of(path).changed_ns:x}" if path.exists() else ""
