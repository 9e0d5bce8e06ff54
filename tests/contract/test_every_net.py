"""Every net trains, passes the gate and scores in the service, small and large: one epoch on a few images each.

MobileNetV2 does so in test_parity.py, too.
"""

import base64
from pathlib import Path

import pytest

from tests.support.live import running_service
from tests.training.support.photos import photo_folder
from training.nets.choice import BASES
from training.run.classifier import Classifier

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.server]

LARGE = pytest.mark.soak
SIDES = (64, pytest.param(224, marks=LARGE), pytest.param(500, marks=LARGE))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("base", [base if base == "alexnet" else pytest.param(base, marks=LARGE) for base in BASES])
def test_a_net_trains_passes_the_gate_and_scores_in_the_service(tmp_path: Path, base: str, side: int) -> None:
    photos = photo_folder(tmp_path / "photos", {"cup": 3, "bowl": 3}, width=side + 40, height=side)
    classifier = Classifier(base, photos.labels, side, "none", device="cpu")
    classifier.fit(photos, photos, schedule=[1e-4], batch_size=3)
    manifest = classifier.export(tmp_path / "model.onnx")
    assert manifest.provenance.parity.max_logit_difference <= manifest.provenance.parity.tolerance
    trained = classifier.evaluate(photos).logits[0]
    image = photos.images[0].read()
    with running_service(tmp_path / "model.onnx") as client:
        (answer,) = client.post("/score", json=[{"image_in_base64": base64.b64encode(image).decode()}]).json()
    assert answer["scores"] == pytest.approx(trained.tolist(), abs=manifest.provenance.parity.tolerance)
