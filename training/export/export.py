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
import torch
from numpy.typing import NDArray

from salver.artifact.manifest import INPUT_NAME, Familiarity, Fingerprints, Heat, Manifest, PixelSpec, Provenance
from salver.system.durable import durable
from training.dataset.dataset import Dataset
from training.evaluation.evaluate import Evaluation
from training.export.gate import Expected, check_file, measure_parity
from training.export.outputs import OutputNet
from training.export.reference import measure_reference
from training.export.test_card import make_golden
from training.fit.minibatches import Minibatches
from training.fit.state import TrainedOn

OPSET = 18
IR_VERSION = 10
"""onnxruntime reads these since 1.18 (2024)."""
_LARGEST_EXPORTED_BATCH = 4096
_PACKAGES = ("salver", "torch", "torchvision", "accelerate", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


def export(
    net: OutputNet,
    spec: PixelSpec,
    path: Path,
    trained_on: TrainedOn,
    *,
    validation: Dataset,
    reported: Evaluation,
    reference: Dataset,
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
    graph = to_onnx(net, spec)
    images = Minibatches(validation, reported.labels, spec)
    trained, shapes = net.net.net, net.shapes(spec)
    expected = Expected(reported.logits, shapes, net.answers, net.bias())
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
            parity=measure_parity(graph.SerializeToString(), images, expected),
        ),
    )
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


def to_onnx(net: OutputNet, spec: PixelSpec) -> onnx.ModelProto:
    """uint8 `pixels` [batch, height, width, 3] to the net's outputs by their names, any batch size.

    With torch's newer exporter: the older one is deprecated and cannot express AlexNet's pooling at most image sizes.
    It takes 2 to 12 s where the older took 1, and passes the gate for every base. The batch axis is declared, so that
    the exporter fails when it would fix it.
    """
    example = torch.zeros((2, spec.height, spec.width, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_EXPORTED_BATCH)
    program = torch.onnx.export(
        net,
        (example,),
        input_names=[INPUT_NAME],
        output_names=list(net.names),
        opset_version=OPSET,
        dynamic_shapes=({0: batch},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    graph = program.model_proto
    for node in graph.graph.node:
        node.ClearField("metadata_props")  # stack traces with the paths of this machine
    graph.ir_version = IR_VERSION
    onnx.checker.check_model(graph, full_check=True)
    return graph


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
