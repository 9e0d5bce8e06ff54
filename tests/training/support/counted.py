"""Progress that a test looks at afterwards."""

from training.progress import Silent


class Counted(Silent):
    """How many images were computed, and what was said."""

    def __init__(self) -> None:
        self.images = 0
        self.lines: list[str] = []

    def advance(self, images: int, note: str = "") -> None:  # noqa: ARG002  # the protocol's
        self.images += images

    def report(self, line: str) -> None:
        self.lines.append(line)
