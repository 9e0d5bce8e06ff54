"""The memory that bodies, fetched images and answers may hold at once, over all requests until their answers are sent.

A limit on one request bounds nothing when fifty come together: each counts what it holds here, before it holds it.
"""

from typing import Self

from service.errors import overloaded


class Budget:
    """So many bytes for all requests together. For one thread, the event loop's."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    def share(self) -> "Share":
        """One request's or one fetched image's part, empty at first."""
        return Share(self)


class Share:
    """What one holder takes of the budget; a context manager that gives it back."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def grow_to(self, size: int) -> None:
        """Hold `size` bytes from now on, or what is held already if that is more. Raises ScoringError `overloaded`."""
        more, budget = size - self._bytes, self._budget
        if more <= 0:
            return
        if budget.held_bytes + more > budget.max_bytes:
            raise overloaded(
                f"Requests in flight hold {budget.held_bytes} bytes and the limit is {budget.max_bytes}: "
                "try again later."
            )
        budget.held_bytes += more
        self._bytes = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.held_bytes -= self._bytes
        self._bytes = 0
