"""Draws docs/images/house.svg out of the contracts that `make check` enforces:  python -m tools.house_picture"""

import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "house.svg"
ROOMS = ("training", "service", "loadtest")
WIDTH, ROW, GAP, MARGIN, TITLE = 300, 34, 8, 16, 30
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1a1a1a}.title{font-weight:600}.room{fill:#eef2fb;stroke:#8da2d6}"
    ".layer{fill:#fff;stroke:#8da2d6}svg{background:#fff}"
)


def layers_of(container: str) -> list[str]:
    """The lines of a room's contract, top to bottom."""
    text = (ROOT / "pyproject.toml").read_text()
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    (found,) = [contract for contract in contracts if contract.get("containers") == [container]]
    return [str(layer) for layer in found["layers"]]


def house_picture() -> str:
    """The picture as SVG: each line may import those below it in its room, and every room may import salver."""
    columns = {room: layers_of(room) for room in ROOMS}
    height = TITLE + max(map(len, columns.values())) * (ROW + GAP) + GAP
    width = len(ROOMS) * (WIDTH + MARGIN) - MARGIN
    shared = layers_of("salver")
    floor = MARGIN + height + MARGIN
    total = floor + TITLE + len(shared) * (ROW + GAP) + GAP + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 2 * MARGIN} {total}" role="img" '
        'aria-label="The rooms of Salver: upper lines import lower ones, and all rooms import salver">',
        f"<style>{STYLE}</style>",
    ]
    for number, (room, layers) in enumerate(columns.items()):
        parts += _room(MARGIN + number * (WIDTH + MARGIN), MARGIN, (WIDTH, height), f"{room}/", layers)
    parts += _room(MARGIN, floor, (width, total - floor - MARGIN), "salver/", shared)
    return "\n".join([*parts, "</svg>", ""])


def _room(left: int, top: int, size: tuple[int, int], title: str, layers: list[str]) -> list[str]:
    width, height = size
    parts = [
        f'<rect class="room" x="{left}" y="{top}" width="{width}" height="{height}" rx="6"/>',
        f'<text class="title" x="{left + 12}" y="{top + 21}">{escape(title)}</text>',
    ]
    for number, layer in enumerate(layers):
        y = top + TITLE + number * (ROW + GAP)
        parts += [
            f'<rect class="layer" x="{left + 8}" y="{y}" width="{width - 16}" height="{ROW}" rx="4"/>',
            f'<text x="{left + 20}" y="{y + 22}">{escape(layer.replace(" | ", " · ").replace(" : ", " · "))}</text>',
        ]
    return parts


if __name__ == "__main__":
    PICTURE.write_text(house_picture())
