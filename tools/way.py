"""The house in figures: python -m tools.way

First which of our files an image passes on its way from a connection to `session.run`, traced while one is scored; then
of each room its folders with their number of entries, the longest chain of imports, and the circles. All imports count:
also those inside functions and under TYPE_CHECKING.
"""

import ast
import base64
import io
import json
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import FrameType

from PIL import Image

from service.limits.request import read_keys
from service.server import Server
from service.settings import Settings
from tests.support.models import probe

ROOT = Path(__file__).parents[1]
ROOMS = ("salver", "training", "service", "loadtest")
MOST_ENTRIES, MOST_FILES = 12, 12
KEY = "a-key-that-is-long-enough"
SIDES = (64, 640)
"""Of the images in pixels: a body that is parsed as it is, and one that is taken in pieces."""

Graph = dict[str, set[str]]


class Way:
    """The files of ours that are passed until the model runs, in the order in which they are entered first."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self._on = False

    def begin(self) -> None:
        """Record from the next byte that comes."""
        self.files = {}
        self._on = True

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """A profiler: see `sys.setprofile`."""
        if not self._on or event != "call":
            return
        path = Path(frame.f_code.co_filename)
        if path.name == "onnxruntime_inference_collection.py" and frame.f_code.co_name == "run":
            self._on = False
        elif path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS:
            name = str(path.relative_to(ROOT))
            if self.files or frame.f_code.co_name == "data_received":
                self.files.setdefault(name)


def ways(side: int) -> list[str]:
    """What three images of that many pixels a side have in common, once caches are filled."""
    way = Way()
    threading.setprofile(way.note)
    found: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model=str(probe(Path(folder) / "model.onnx")), api_keys=KEY, drain_seconds=0)
        server = Server(settings, read_keys(settings), "127.0.0.1", 0)
        serving = threading.Thread(target=server.run)
        serving.start()
        try:
            for _ in range(5):
                while server.service.status != "ready":
                    pass
                way.begin()
                _post(server.port, side)
                found.append(list(way.files))
        finally:
            server.should_exit = True
            serving.join()
            threading.setprofile(None)
    return [file for file in found[-1] if all(file in files for files in found[2:])]


def _post(port: int, side: int) -> None:
    image = io.BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(image, "PNG")
    body = json.dumps([{"image_in_base64": base64.b64encode(image.getvalue()).decode()}]).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    with urllib.request.urlopen(  # loopback
        urllib.request.Request(f"http://127.0.0.1:{port}/score", body, headers)
    ) as answer:
        answer.read()


def modules(room: str) -> dict[str, Path]:
    """Every module of a room, by its name."""
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in _python(room)}


def _python(room: str) -> Iterator[Path]:
    return (path for path in (ROOT / room).rglob("*.py"))


def imports(known: dict[str, Path]) -> Graph:
    """Module to the modules that it names in any import. Ours are absolute."""
    graph: Graph = {}
    for name, path in known.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        # A package is what it imports itself, not its parts.
        graph[name] = (named & known.keys()) - {name}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """One after another, each taken apart at its last import before the next is looked for."""
    graph = {name: set(others) for name, others in graph.items()}
    found: list[list[str]] = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle: list[str] = error.args[1]
            found.append(circle)
            graph[circle[1]].discard(circle[0])
        else:
            return found


def depth(graph: Graph) -> int:
    """The modules of the longest chain of imports; of one without circles."""
    longest: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        longest[name] = 1 + max((longest[other] for other in graph[name]), default=0)
    return max(longest.values())


def entries(folder: Path) -> int:
    """Files and folders that somebody sees who opens it."""
    return sum(not path.name.startswith((".", "__pycache__", "__init__")) for path in folder.iterdir())


def main() -> int:
    """Print it all; 1 when an image passes more files than it may, a folder is too full or there is a circle."""
    too_much = False
    for side in SIDES:
        files = ways(side)
        ours = [file for file in files if file.startswith("service/")]
        too_much |= len(ours) > MOST_FILES
        print(  # noqa: T201
            f"an image of {side} pixels a side passes {len(ours)} files of service/ until session.run, and "
            f"{len(files) - len(ours)} of the contract:",
            *files,
            sep="\n  ",
        )
    known = {name: path for room in ROOMS for name, path in modules(room).items()}
    graph = imports(known)
    for circle in (found := circles(graph)):
        print("circle:", " <- ".join(circle))  # noqa: T201
    for room in ROOMS:
        folders = {path.parent for path in _python(room)}
        full = {str(folder.relative_to(ROOT)): entries(folder) for folder in folders if entries(folder) > MOST_ENTRIES}
        too_much |= bool(full)
        inside = imports(modules(room))
        deep = "-" if circles(inside) else depth(inside)
        print(  # noqa: T201
            f"{room}: {sum(1 for _ in _python(room))} modules in {len(folders)} folders, {deep} imports deep, "
            f"most entries {max(map(entries, folders))}; folders with more than {MOST_ENTRIES}: {full or 'none'}"
        )
    return int(too_much or bool(found))


if __name__ == "__main__":
    sys.exit(main())
