"""Executes docs/walkthrough.ipynb from top to bottom and stores it with what it showed:  make notebook"""

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[1] / "docs" / "walkthrough.ipynb"
CELL_SECONDS = 600
LIVE = "live"
"""The tag of a cell whose output is a page of the running notebook, which is not stored."""


def executed(folder: Path) -> NotebookNode:
    """The notebook as it is after a run in an empty folder. Raises nbclient's CellExecutionError."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=CELL_SECONDS, resources=where, record_timing=False).execute()
    return notebook


def stored(notebook: NotebookNode) -> NotebookNode:
    """The same without what a reader cannot use: pages that are gone, and a picture's second form."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if LIVE in cell.metadata.get("tags", ()):
            cell.outputs = []
        for output in cell.outputs:
            if "image/jpeg" in output.get("data", {}):
                output.data.pop("image/png", None)
    notebook.metadata.pop("language_info", None)  # the version of this machine's Python
    return notebook


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(stored(executed(Path(folder))), NOTEBOOK)
