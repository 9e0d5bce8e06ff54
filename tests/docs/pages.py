"""The code blocks of README and docs, in the order a reader meets them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/your-photos.md",
    "docs/data.md",
    "docs/training.md",
    "docs/evaluation.md",
    "docs/scoring-api.md",
    "docs/open-inference-protocol.md",
    "docs/operations.md",
    "docs/gpu.md",
    "docs/benchmarks.md",
    "loadtest/README.md",
    "docs/load-testing.md",
)
"""Those with code; `test_every_page_with_code_is_read` finds a page that is missing here."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?<=\n\n)    \S")


@dataclass(frozen=True)
class Block:
    """`language` is bash (typed), python, json (a file or an answer) or text (nothing to run)."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """Of a page that is named by its path in the repository."""
    text = (ROOT / page).read_text()
    return [Block(page, text[: found.start()].count("\n") + 1, *found.groups()) for found in FENCE.finditer(text)]


def all_pages() -> list[str]:
    """Every page that a reader may open, whether there is code in it or not."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "k8s").rglob("*.md"), ROOT / PAGES[-2]]
    return [page.relative_to(ROOT).as_posix() for page in pages]
