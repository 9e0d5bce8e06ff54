"""Ctrl-C at a moment that a test can name."""

from training.progress import Silent


class Interrupting(Silent):
    """Stands for a person who presses Ctrl-C when so many images are done in a stage."""

    def __init__(self, stage: str, after: int) -> None:
        self._stage, self._left = stage, after
        self._now = ""

    def begin(self, stage: str, total: int) -> None:
        super().begin(stage, total)
        self._now = stage

    def advance(self, images: int, note: str = "") -> None:
        super().advance(images, note)
        if self._now == self._stage:
            self._left -= images
            if self._left < 0:
                raise KeyboardInterrupt
