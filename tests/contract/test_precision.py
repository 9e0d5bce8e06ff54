"""A file of another precision gives the same answers live as in training's onnxruntime."""

from pathlib import Path

import numpy as np
import pytest

from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME, Manifest
from salver.artifact.pixels import decode, to_pixels
from tests.contract.test_parity import TOLERANCE, kinds, largest_difference, live
from tests.support.live import running_service
from tests.training.support.runs import exported
from training.export.gate import open_session
from training.export.precision import Precision
from training.run.folder import RunResult

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.server]


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_the_live_service_agrees_with_training_on_twenty_kinds_of_files(
    trained_run: RunResult, tmp_path: Path, precision: Precision, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported(trained_run.out, precision, tmp_path / "model.onnx", 1.0).path
    session = open_session(path.read_bytes())
    manifest = Manifest.from_metadata(session.get_modelmeta().custom_metadata_map)
    pixels = np.stack([to_pixels(decode(data, manifest.pixels), manifest.pixels) for data in kinds().values()])
    logits = session.run([OUTPUT_NAME], {INPUT_NAME: pixels})[0]
    trained = [dict(zip(manifest.labels, row.tolist(), strict=True)) for row in logits]
    with running_service(path) as client:
        assert client.get("/model").json()["precision"] == precision
        largest = largest_difference(trained, live(client))
    with capsys.disabled():
        print(f"\nparity: largest logit difference training / live service as {precision}: {largest:.2e}")  # noqa: T201
    assert largest <= TOLERANCE
