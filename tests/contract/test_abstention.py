"""A model with thresholds gives no label to the same images in evaluation and live."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.live import running_service
from tests.support.models import by_colour
from tests.training.evaluation.evaluations import colour_folder
from training.dataset.test_set import read_test_set
from training.evaluation.evaluate import evaluate
from training.evaluation.model_file import ModelFile
from training.evaluation.thresholds import set_threshold

pytestmark = [pytest.mark.torch, pytest.mark.server]


def test_the_service_abstains_from_the_images_that_evaluation_says_and_from_no_others(tmp_path: Path) -> None:
    """At thresholds that are the very score of an image, or the next number above it, too."""
    dataset = read_test_set(colour_folder(tmp_path / "photos", 12)).scored
    model = by_colour(tmp_path / "model.onnx", gain=9.7, temperature=1.37)
    before = evaluate(model, dataset)
    middles = {label: np.sort(before.scores[before.predictions == index]) for index, label in enumerate(before.labels)}
    file = ModelFile.read(model)
    file = set_threshold(file, model, "red", float(middles["red"][4]), min_precision=None, fingerprint=None)
    file = set_threshold(
        file, model, "green", float(np.nextafter(middles["green"][4], 1)), min_precision=None, fingerprint=None
    )
    evaluation = evaluate(model, dataset)
    with running_service(model) as client:
        answers = [
            client.post("/score?add_softmax=true", content=image.read(), headers={"Content-Type": "image/png"}).json()[
                0
            ]
            for image in dataset.images
        ]
    assert [answer.get("abstained", False) for answer in answers] == evaluation.abstained.tolist()
    assert [answer["label"] is None for answer in answers] == evaluation.abstained.tolist()
    assert [answer["label_index"] for answer in answers] == evaluation.predictions.tolist()
    assert [answer["score"] for answer in answers] == evaluation.scores.tolist()
    by_label = [evaluation.abstained[evaluation.predictions == index].sum() for index in range(3)]
    assert by_label == [4, 5, 0]
