"""The folder of a run whose net is made by hand, so that what each layer does to the numbers is known."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from PIL import Image

from salver.artifact.manifest import OUTPUT_NAME, Manifest
from tests.support.models import SPEC, Constants, Nodes, write
from tests.training.run.test_run import settings
from training.dataset.dataset import Dataset
from training.run.parts import split

LABELS = ("darker", "lighter")
RED = {"darker": 100, "lighter": 101}
"""The labels differ by one step of red; green and blue are noise over their whole range."""


def made_run(folder: Path, nodes: Nodes, constants: Constants) -> Path:
    """FOLDER/photos and FOLDER/run.

    `nodes` begin at `images`, float32 [batch, 3, 32, 32] from 0 to 1, and end at `maps`, [batch, 2, 32, 32]; the
    logits are their means.
    """
    generator = np.random.default_rng(0)
    for label, red in RED.items():
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (SPEC.height, SPEC.width, 3), dtype=np.uint8)
            pixels[..., 0] = red
            Image.fromarray(pixels).save(folder / "photos" / label / f"{number}.png")
    run, wanted = folder / "run", replace(settings(folder / "photos", folder / "run"), val_size=0.3)
    run.mkdir()
    data = Dataset.from_dir(folder / "photos")
    begin = [helper.make_node("Transpose", ["scaled"], ["images"], name="turn", perm=[0, 3, 1, 2])]
    end = [
        helper.make_node("ReduceMean", ["maps", "over the map"], ["means"], name="mean", keepdims=0),
        helper.make_node("Gemm", ["means", "head"], [OUTPUT_NAME], name="head"),
    ]
    constants = {
        **constants,
        "over": np.float32(1 / 255),
        "over the map": np.array([2, 3]),
        "head": np.eye(2, dtype=np.float32),
    }
    model = onnx.load(write(run / "model.onnx", [*begin, *nodes, *end], constants, LABELS))
    manifest = Manifest.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    provenance = manifest.provenance.model_copy(update={"data_fingerprint": split(data, wanted).train.fingerprint()})
    helper.set_model_props(model, manifest.model_copy(update={"provenance": provenance}).to_metadata())
    onnx.save(model, run / "model.onnx")
    record = {"settings": asdict(wanted), "data_fingerprint": data.fingerprint()}
    (run / "run.json").write_text(json.dumps(record, default=str))
    return run
