"""The frame in which a notebook shows a page of ours."""


def frame(height: int) -> str:
    """The attributes of an `iframe` as wide as the cell, `height` pixels high."""
    return f'style="width: 100%; height: {height}px; border: 0" allow="clipboard-write"'
