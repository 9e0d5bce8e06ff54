"""MkDocs' hook: pages that stand elsewhere in the repository, where their readers look for them, and the notebook join
the site.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "walkthrough.ipynb"
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
    "loadtest/README.md": "loadtest.md",
}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add each as a page of the site, and one that lists the decisions."""
    from mkdocs.structure.files import File

    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "decisions.md", content=_decisions()))
    text, pictures = _notebook()
    files.append(File.generated(config, f"{NOTEBOOK.stem}.md", content=text))
    for name, picture in pictures.items():
        files.append(File.generated(config, name, content=picture))
    return files


def on_page_markdown(markdown: str, page: "Page", **_: object) -> str:
    """Turn links that leave docs/ into links between pages of the site."""
    sources = {name: Path(source) for source, name in PAGES.items()}
    own = sources.get(page.file.src_uri, Path("docs") / page.file.src_uri)
    return LINK.sub(lambda link: _moved(link[1], own, Path(page.file.src_uri)), markdown)


def _notebook() -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown with what it showed, and its pictures by name."""
    from nbconvert import MarkdownExporter

    place = {"unique_key": NOTEBOOK.stem, "output_files_dir": f"{NOTEBOOK.stem}-pictures"}
    text, resources = MarkdownExporter().from_filename(str(NOTEBOOK), resources=place)
    return text, resources["outputs"]


def _decisions() -> str:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    titles = [(page.read_text().partition("\n")[0].lstrip("# "), page.name) for page in pages]
    lines = "".join(f"- [{title}](decisions/{name})\n" for title, name in titles)
    return f"# Decisions\n\nWhere the code differs from what was planned, and why.\n\n{lines}"


def _moved(link: str, own: Path, place: Path) -> str:
    """Where the file that `own` links to lies, seen from the page `place`."""
    target = (ROOT / own.parent / link).resolve().relative_to(ROOT).as_posix()
    inside = PAGES.get(target, target.removeprefix("docs/")).replace(NOTEBOOK.name, f"{NOTEBOOK.stem}.md")
    return "../" * (len(place.parts) - 1) + inside
