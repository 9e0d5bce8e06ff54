"""For notebooks: the report of an evaluation, shown in the cell."""

import html
from dataclasses import dataclass, field

from training.evaluation.evaluate import Evaluation
from training.report.frame import frame
from training.report.page_data import page_data
from training.report.report import MAX_THUMBNAILS, NO_EPOCHS, metrics_of, render


@dataclass(frozen=True)
class Viewer:
    """A page that a notebook shows by itself."""

    page: str = field(repr=False)
    height: int
    """Of the frame in the notebook, in pixels."""

    def _repr_html_(self) -> str:
        # A frame of its own, without the notebook's origin: the page's scripts and styles stay in it.
        source = html.escape(self.page)
        return f'<iframe srcdoc="{source}" sandbox="allow-scripts allow-forms" {frame(self.height)}></iframe>'


def results_viewer(
    evaluation: Evaluation, old: Evaluation | None = None, max_thumbnails: int = MAX_THUMBNAILS, height: int = 800
) -> Viewer:
    """The page of `salver evaluate`, with its images, slider and curves. Raises SettingError as `metrics_of` does."""
    metrics = metrics_of(evaluation, old=old)
    return Viewer(render(page_data(evaluation, metrics, NO_EPOCHS, old=old, max_thumbnails=max_thumbnails)), height)
