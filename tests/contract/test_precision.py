"""Room training and room service together: the smaller files answer live as they did behind the gate."""

from pathlib import Path

import numpy as np
import pytest

from tests.live import running_service
from tests.training.runs import small_run
from training.precision import Precision, export_precision, read_run
from training.progress import Silent

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("precisions"), photos=8)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_the_service_answers_as_the_file_did_in_training(
    run_folder: Path, tmp_path: Path, precision: Precision
) -> None:
    exported = export_precision(run_folder, precision, tmp_path / "model.onnx", 1.0, Silent())
    _, parts = read_run(run_folder)
    with running_service(exported.path) as client:
        assert client.get("/model").json()["precision"] == precision
        answers = [
            client.post("/score", content=image.path.read_bytes(), headers={"Content-Type": "image/jpeg"}).json()[0]
            for image in parts.validation.images
        ]
    np.testing.assert_allclose([answer["scores"] for answer in answers], exported.after.logits, atol=1e-5)
    assert [answer["label_index"] for answer in answers] == exported.after.predictions.tolist()
