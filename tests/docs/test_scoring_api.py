"""Every request of docs/scoring-api.md against a live service, in the order a reader meets them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from salver.artifact.manifest import Difference, Familiarity, Heat, Manifest, Parity, PixelSpec
from tests.support.images import photo
from tests.support.live import running_service, serving_folder
from tests.support.models import fixed

pytestmark = pytest.mark.server

PAGE = Path(__file__).parents[2] / "docs" / "scoring-api.md"
EXCHANGE = re.compile(r"```bash\n(.*?)```\n\n```json\n(.*?)```", re.DOTALL)
LOGITS = {"bowl": -1.2, "cup": 2.9, "cutlery": 0.4, "plate": -0.3}
SPEC = PixelSpec(height=224, width=224, shorter_side=256)
METRICS = {"test_accuracy": 0.9545, "test_class_averaged_accuracy": 0.9375}
PARITY = Parity(
    images=40,
    batch_sizes=(1, 2, 40),
    max_logit_difference=2.1e-6,
    tolerance=1e-4,
    outputs={"features": Difference(largest=1.3e-6, tolerance=2e-4)},
    outputs_images=32,
)
FAMILIARITY = Familiarity(threshold=0.4, max_false_alarms=0.05, reached=0.04, photos=75, directions=18)
HEAT = Heat(rows=2, columns=2, bias={"bowl": 0.0, "cup": 0.0, "cutlery": 0.0, "plate": -0.1})
OTHERS = {
    "features": [1.0, 2.0],
    "familiarity": 0.31,
    "heat": [[[logit] * 2] * 2 for logit in (-1.2, 2.9, 0.4)] + [[[-0.8, -0.4], [0.0, 0.4]]],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies in the reader's folder."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "cup.jpg").write_bytes(photo(64, 48))
    (folder / "cup.png").write_bytes(photo(64, 48, form="PNG"))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's model."""
    path = fixed(tmp_path_factory.mktemp("model") / "model.onnx", LOGITS, spec=SPEC)
    graph = onnx.load(path)
    manifest = Manifest.from_metadata({entry.key: entry.value for entry in graph.metadata_props})
    provenance = manifest.provenance.model_copy(update={"metrics": METRICS, "parity": PARITY})
    changed = manifest.model_copy(
        update={
            "base": "resnet18",
            "provenance": provenance,
            "features": 2,
            "familiarity": FAMILIARITY,
            "heat": HEAT,
        }
    )
    for name, value in OTHERS.items():
        _add_output(graph, name, np.array(value, np.float32))
    helper.set_model_props(graph, changed.to_metadata())
    onnx.save(graph, path)
    return path


def _add_output(model: onnx.ModelProto, name: str, value: NDArray[np.float32]) -> None:
    """One that is the same for every image."""
    graph = model.graph
    shape = np.array([-1, *value.shape])
    for part, constant in (
        ("nothing", np.zeros((3, value.size), np.float32)),
        ("value", value.ravel()),
        ("shape", shape),
    ):
        graph.initializer.append(numpy_helper.from_array(constant, f"{name} {part}"))
    graph.node.extend(
        [
            helper.make_node("MatMul", ["colour", f"{name} nothing"], [f"{name} zeros"]),
            helper.make_node("Add", [f"{name} zeros", f"{name} value"], [f"{name} flat"]),
            helper.make_node("Reshape", [f"{name} flat", f"{name} shape"], [name]),
        ]
    )
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *value.shape]))


@pytest.fixture(scope="module")
def service(model: Path) -> Iterator[httpx.Client]:
    with running_service(model, api_keys="page-key", url_allowlist="127.0.0.1") as client:
        yield client


def matches(expected: object, found: object) -> bool:
    """The page rounds numbers, and writes … for what differs from model to model."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(matches(expected[key], found[key]) for key in expected)
    if expected == ["…"]:
        return isinstance(found, list)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(matches, expected, found))
    if isinstance(expected, float) and isinstance(found, float):
        return found == pytest.approx(expected, abs=6e-5)
    return expected == found or (expected == "…" and isinstance(found, str) and bool(found))


@pytest.mark.parametrize(("command", "answer"), EXCHANGE.findall(PAGE.read_text()))
def test_the_request_on_the_page_gets_the_answer_on_the_page(
    service: httpx.Client, folder: Path, command: str, answer: str
) -> None:
    with serving_folder(folder) as elsewhere:
        here = str(service.base_url).rstrip("/")
        script = command.replace("http://127.0.0.1:8000", here).replace("https://example.com", elsewhere)
        environment = {"PATH": os.environ["PATH"], "KEY": "page-key"}
        options = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(options, cwd=folder, env=environment, capture_output=True, check=True, timeout=30)
    found = json.loads(done.stdout)
    assert matches(json.loads(answer), found), found


def test_no_request_stands_without_its_answer() -> None:
    blocks = re.findall(r"^```(\w*)$", PAGE.read_text(), re.MULTILINE)
    assert [block for block in blocks if block] == ["bash", "json"] * 8
    assert len(EXCHANGE.findall(PAGE.read_text())) == 8
    assert "\n    curl" not in PAGE.read_text()
