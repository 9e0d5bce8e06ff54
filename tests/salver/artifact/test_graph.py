"""One judge of a model file's graph for both rooms."""

from pathlib import Path
from typing import NamedTuple

import pytest

from salver.artifact.errors import ModelFileError
from salver.artifact.graph import check_graph, read_manifest
from salver.artifact.manifest import Manifest
from tests.support.models import constant, probe


class Axis(NamedTuple):
    name: str
    type: str
    shape: list[int | str | None]


class Opened(NamedTuple):
    """As an onnxruntime session describes what it holds."""

    inputs: list[Axis]
    outputs: list[Axis]

    def get_inputs(self) -> list[Axis]:
        return self.inputs

    def get_outputs(self) -> list[Axis]:
        return self.outputs


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest(probe(tmp_path / "model.onnx").read_bytes())


def opened(manifest: Manifest, pixels: Axis | None = None, logits: Axis | None = None) -> Opened:
    size = manifest.pixels
    return Opened(
        [pixels or Axis("pixels", "tensor(uint8)", ["batch", size.height, size.width, 3])],
        [logits or Axis("logits", "tensor(float)", [None, len(manifest.labels)])],
    )


def test_pixels_of_the_manifests_size_in_and_a_logit_for_each_label_out_pass(manifest: Manifest) -> None:
    check_graph(opened(manifest), manifest.pixels, manifest.outputs)


@pytest.mark.parametrize(
    ("pixels", "logits", "words"),
    [
        (Axis("pixels", "tensor(float)", ["batch", 8, 8, 3]), None, "the manifest asks for"),
        (Axis("pixels", "tensor(uint8)", ["batch", 3, 8, 8]), None, "the manifest asks for"),
        (Axis("images", "tensor(uint8)", ["batch", 8, 8, 3]), None, "the manifest asks for"),
        (None, Axis("logits", "tensor(float)", ["batch", 1]), "the manifest asks for"),
        (None, Axis("logits", "tensor(float16)", ["batch", 3]), "the manifest asks for"),
    ],
)
def test_another_form_is_refused(manifest: Manifest, pixels: Axis | None, logits: Axis | None, words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        check_graph(opened(manifest, pixels, logits), manifest.pixels, manifest.outputs)


def test_a_batch_of_one_length_only_is_refused(manifest: Manifest) -> None:
    fixed = Axis("logits", "tensor(float)", [1, len(manifest.labels)])
    with pytest.raises(ModelFileError, match="one length only"):
        check_graph(opened(manifest, logits=fixed), manifest.pixels, manifest.outputs)


def test_a_second_output_is_refused(manifest: Manifest) -> None:
    given = opened(manifest)
    with pytest.raises(ModelFileError, match="the manifest asks for"):
        check_graph(Opened(given.inputs, given.outputs * 2), manifest.pixels, manifest.outputs)


def test_a_graph_that_ends_in_a_softmax_has_no_manifest_to_read(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="it ends in a softmax"):
        read_manifest(constant(tmp_path / "model.onnx", [2, 1], softmax=True).read_bytes())
