"""For notebooks: the annotation page of a data set, shown in the cell. It needs the extra `annotate`."""

import html
import threading
from pathlib import Path

from training.dataset.annotate.server import OpenPage, open_page
from training.dataset.dataset import Dataset
from training.dataset.image import folders
from training.errors import DatasetError
from training.report.frame import frame


class Annotating:
    """The page of `salver annotate`, served by this process until `close`; a notebook shows it by itself.

    `host` is the name under which the notebook itself is open, localhost or 127.0.0.1: the browser gives the page its
    cookie only within the same site.
    """

    def __init__(self, page: OpenPage, host: str, height: int) -> None:
        self.address = f"http://{host}:{page.port}/?token={page.token}"
        self._page, self._height = page, height
        self._thread = threading.Thread(target=page.run, daemon=True)
        self._thread.start()

    def _repr_html_(self) -> str:
        return f'<iframe src="{html.escape(self.address)}" {frame(self._height)}></iframe>'

    def close(self) -> None:
        """Everything that was said is in annotations.csv already."""
        self._page.server.should_exit = True
        self._thread.join()


def annotate(dataset: Dataset | Path | str, host: str = "localhost", height: int = 700) -> Annotating:
    """Look at the folder of `dataset` and label it. Read the data set again to have what was said.

    Raises DatasetError when the images lie in more than one folder, or the folder cannot be read.
    """
    if isinstance(dataset, Dataset):
        found = folders(dataset.images)
        if len(found) != 1:
            raise DatasetError(f"The images lie in {len(found)} folders. Name the one to annotate.")
        dataset = found[0]
    return Annotating(open_page(Path(dataset), 0, framed=True), host, height)
