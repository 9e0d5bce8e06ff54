"""For notebooks: the report of an evaluation and the annotation page of a data set, shown in the cell."""

import html
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from training.dataset.dataset import Dataset
from training.errors import DatasetError
from training.evaluation.evaluate import Evaluation
from training.evaluation.metrics import folders
from training.report.page_data import page_data
from training.report.report import MAX_THUMBNAILS, NO_EPOCHS, metrics_of, render

if TYPE_CHECKING:
    from training.dataset.annotate.server import OpenPage


@dataclass(frozen=True)
class Viewer:
    """A page that a notebook shows by itself."""

    page: str = field(repr=False)
    height: int
    """Of the frame in the notebook, in pixels."""

    def _repr_html_(self) -> str:
        # A frame of its own, without the notebook's origin: the page's scripts and styles stay in it.
        source = html.escape(self.page)
        return f'<iframe srcdoc="{source}" sandbox="allow-scripts allow-forms" {_frame(self.height)}></iframe>'


def results_viewer(
    evaluation: Evaluation, old: Evaluation | None = None, max_thumbnails: int = MAX_THUMBNAILS, height: int = 800
) -> Viewer:
    """The page of `salver evaluate`, with its images, slider and curves. Raises SettingError as `metrics_of` does."""
    metrics = metrics_of(evaluation, old=old)
    return Viewer(render(page_data(evaluation, metrics, NO_EPOCHS, old=old, max_thumbnails=max_thumbnails)), height)


class Annotating:
    """The page of `salver annotate`, served by this process until `close`; a notebook shows it by itself.

    `host` is the name under which the notebook itself is open, localhost or 127.0.0.1: the browser gives the page its
    cookie only within the same site.
    """

    def __init__(self, page: "OpenPage", host: str, height: int) -> None:
        self.address = f"http://{host}:{page.port}/?token={page.token}"
        self._page, self._height = page, height
        self._thread = threading.Thread(target=page.run, daemon=True)
        self._thread.start()

    def _repr_html_(self) -> str:
        return f'<iframe src="{html.escape(self.address)}" {_frame(self._height)}></iframe>'

    def close(self) -> None:
        """Everything that was said is in annotations.csv already."""
        self._page.server.should_exit = True
        self._thread.join()


def annotate(dataset: Dataset | Path | str, host: str = "localhost", height: int = 700) -> Annotating:
    """Look at the folder of `dataset` and label it. Read the data set again to have what was said.

    Raises DatasetError when the images lie in more than one folder, or the folder cannot be read.
    """
    from training.dataset.annotate.server import open_page  # needs the extra annotate

    if isinstance(dataset, Dataset):
        found = folders(dataset.images)
        if len(found) != 1:
            raise DatasetError(f"The images lie in {len(found)} folders. Name the one to annotate.")
        dataset = found[0]
    return Annotating(open_page(Path(dataset), 0, framed=True), host, height)


def _frame(height: int) -> str:
    return f'style="width: 100%; height: {height}px; border: 0" allow="clipboard-write"'
