from pathlib import Path

import pytest

from training.dataset import Dataset, LabelledImage
from training.quantisation import CALIBRATION_IMAGES, calibration_part

pytestmark = pytest.mark.torch


def test_calibration_takes_images_of_every_label(tmp_path: Path) -> None:
    images = tuple(LabelledImage(tmp_path / f"{index}.jpg", "cup" if index < 140 else "plate") for index in range(200))
    part = calibration_part(Dataset(images, ("cup", "plate")))
    assert len(part) == CALIBRATION_IMAGES
    assert part.counts()["plate"] == 38
