"""The trained net as one ONNX file with its provenance, written only when the gate lets it pass."""

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from salver.artifact.manifest import Familiarity, Fingerprints, Heat, Manifest, Parity, PixelSpec, Provenance
from salver.system.durable import durable
from training.dataset.dataset import Dataset
from training.errors import ExportRefused
from training.evaluation.evaluate import Evaluation
from training.export.gate import Expected, check_file, measure_parity
from training.export.graph import graphs
from training.export.outputs import OutputNet
from training.export.reference import measure_reference
from training.export.test_card import make_golden
from training.fit.minibatches import Minibatches
from training.fit.state import TrainedOn

_PACKAGES = ("salver", "torch", "torchvision", "accelerate", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


def export(
    net: OutputNet,
    spec: PixelSpec,
    path: Path,
    trained_on: TrainedOn,
    *,
    validation: Dataset,
    reported: Evaluation,
    reference: Dataset | None,
    metrics: Mapping[str, float],
    head: Literal["softmax", "svm"] = "softmax",
    temperature: float = 1.0,
    thresholds: dict[str, float] | None = None,
    familiarity: Familiarity | None = None,
    fingerprints: Fingerprints | None = None,
) -> Manifest:
    """Write `path` with the manifest, which is returned. `reported` is the evaluation of `validation` by torch, and
    `familiarity` what the net's plane was judged to mean; `net` is on the CPU and in evaluation mode. Of `reference`,
    images that training did not see, the file keeps histograms, and nothing is chosen by them.

    Raises ExportRefused; what stood under `path` before is then still there.
    """
    images = Minibatches(validation, reported.labels, spec)
    trained, shapes = net.net.net, net.shapes(spec)
    expected = Expected(reported.logits, shapes, net.answers, net.bias())
    graph, parity = _passing(net, images, expected)
    manifest = Manifest(
        labels=reported.labels,
        pixels=spec,
        temperature=temperature,
        thresholds=thresholds,
        head=head,
        base=trained.base,
        weights=trained.weights,
        features=shapes["features"][0] if "features" in shapes else None,
        familiarity=familiarity if "familiarity" in shapes else None,
        heat=_heat(shapes["heat"], reported.labels, net.bias()) if "heat" in shapes else None,
        fingerprints=fingerprints,
        golden=make_golden(net.net, spec, reported.labels),
        provenance=Provenance(
            data_fingerprint=trained_on.data_fingerprint,
            counts=trained_on.counts,
            seed=trained_on.seed,
            versions=package_versions(),
            git_revision=git_revision(),
            metrics=dict(metrics),
            parity=parity,
            class_weights=trained_on.class_weights,
        ),
    )
    if reference is not None:
        found = measure_reference(graph.SerializeToString(), manifest, reference)
        manifest = manifest.model_copy(update={"reference": found})
    onnx.helper.set_model_props(graph, manifest.to_metadata())
    with durable(path) as partial:
        partial.write_bytes(graph.SerializeToString())
        check_file(partial, manifest, validation, reported)
    return manifest


def _heat(shape: tuple[int, ...], labels: Sequence[str], bias: NDArray[np.float64]) -> Heat:
    _, rows, columns = shape
    return Heat(rows=rows, columns=columns, bias=dict(zip(labels, bias.tolist(), strict=True)))


def _passing(net: OutputNet, images: Minibatches, expected: Expected) -> tuple[onnx.ModelProto, Parity]:
    """The first graph that answers as the net does. Raises ExportRefused, with what the last one lacks."""
    refused: ExportRefused | None = None
    for graph in graphs(net, images.spec):
        try:
            return graph, measure_parity(graph.SerializeToString(), images, expected)
        except ExportRefused as error:
            refused = error
    assert refused is not None
    raise refused


def package_versions() -> dict[str, str]:
    """Python's and each package's version; a package that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # Salver itself, run from a checkout
    return versions


def git_revision() -> str | None:
    """The commit of the checkout that this file lies in, with "-dirty" after changes; None outside of one."""
    root = Path(__file__).parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
