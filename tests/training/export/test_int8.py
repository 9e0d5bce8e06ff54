from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.support.models import SPEC, Constants
from tests.training.support.made_run import LABELS, made_run
from training.dataset.dataset import Dataset, LabelledImage
from training.export.int8 import CALIBRATION_IMAGES, calibration_part, to_int8
from training.fit.minibatches import Minibatches

pytestmark = pytest.mark.torch


def test_calibration_takes_images_of_every_label(tmp_path: Path) -> None:
    images = tuple(LabelledImage(tmp_path / f"{index}.jpg", "cup" if index < 140 else "plate") for index in range(200))
    part = calibration_part(Dataset(images, ("cup", "plate")))
    assert len(part) == CALIBRATION_IMAGES
    assert part.counts()["plate"] == 38


def test_weights_have_seven_bits_so_that_no_x86_processor_overflows(tmp_path: Path) -> None:
    constants: Constants = {"weight": np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)}
    run = made_run(tmp_path, [helper.make_node("Conv", ["images", "weight"], ["maps"], name="mix")], constants)
    graph = to_int8(run / "model.onnx", Minibatches(Dataset.from_dir(tmp_path / "photos"), LABELS, SPEC)).graph
    (weight,) = (numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 4)
    assert weight.dtype == np.int8
    assert np.abs(weight.astype(int)).max() == 64
