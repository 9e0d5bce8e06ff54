"""The same bytes become the same pixels in training and in the service, whatever their size and the resize mode."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.manifest import PixelSpec
from service.scoring.encoded import prepare
from service.scoring.model import load_model
from tests.support.images import encode, picture
from tests.support.models import probe
from training.dataset.dataset import Dataset
from training.fit.minibatches import Minibatches

pytestmark = pytest.mark.torch

SIZES = [(37, 501), (501, 37), (1, 1), (3, 900), (113, 150), (224, 224), (223, 225), (640, 480), (1333, 750), (50, 49)]


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_on12_images_of_odd_sizes_have_the_same_pixels_in_training_and_in_the_service(
    tmp_path: Path, resize: Literal["crop", "pad", "stretch"]
) -> None:
    spec = PixelSpec(height=224, width=200, resize=resize, shorter_side=256 if resize == "crop" else None)
    model = load_model(str(probe(tmp_path / "model.onnx", spec)), "cpu", 1)
    for number, size in enumerate(SIZES):
        for form in ("JPEG", "PNG"):
            file = tmp_path / "photos" / "ab"[number % 2] / f"{number}.{form.lower()}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode(picture(*size, seed=number), form))
    dataset = Dataset.from_dir(tmp_path / "photos")
    images = Minibatches(dataset, dataset.labels, spec)
    assert len(images) == 20
    with Decoders() as decoders:
        for index, image in enumerate(dataset.images):
            trained = images.read([index]).pixels[0].numpy()
            served = prepare(image.path.read_bytes(), model, decoders).pixels
            np.testing.assert_array_equal(served, trained, err_msg=str(SIZES[int(image.path.stem)]))
