from pathlib import Path

import pytest
import torch

from artifact.manifest import PixelSpec
from tests.training.photos import photo_folder
from training.classifier import Classifier, Resize, pixel_spec
from training.dataset import Dataset
from training.errors import SettingError

pytestmark = pytest.mark.torch


def fitted(train: Dataset, seed: int = 0, epochs: int = 1, batch_size: int = 64) -> Classifier:
    classifier = Classifier("mobilenet_v2", train.labels, image_size=64, weights="none", seed=seed, device="cpu")
    classifier.fit(train, learning_rates=[0.01] * epochs, batch_size=batch_size, seed=seed)
    return classifier


def weights(classifier: Classifier) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in classifier.net.state_dict().values()])


@pytest.mark.parametrize(
    ("image_size", "resize", "spec"),
    [
        (224, "crop", PixelSpec(height=224, width=224, resize="crop", shorter_side=256)),
        ((128, 96), "crop", PixelSpec(height=128, width=96, resize="crop", shorter_side=146)),
        (64, "pad", PixelSpec(height=64, width=64, resize="pad")),
        (3584, "crop", PixelSpec(height=3584, width=3584, resize="crop", shorter_side=4096)),
        ((64, 500), "stretch", PixelSpec(height=64, width=500, resize="stretch")),
    ],
)
def test_the_image_size_gives_the_pixel_spec(
    image_size: int | tuple[int, int], resize: Resize, spec: PixelSpec
) -> None:
    assert pixel_spec(image_size, resize) == spec


@pytest.mark.parametrize("image_size", [63, (224, 63), 3585, 0])
def test_an_image_size_out_of_range_is_refused(image_size: int | tuple[int, int]) -> None:
    with pytest.raises(SettingError, match="64 to 3584"):
        Classifier("resnet18", ("cup", "bowl"), image_size=image_size, weights="none")


@pytest.mark.slow
@pytest.mark.parametrize("count", [65, 3])
def test_65_images_and_3_images_both_train_in_minibatches_of_64(tmp_path: Path, count: int) -> None:
    classifier = fitted(photo_folder(tmp_path, {"cup": count - 1, "bowl": 1}))
    assert torch.isfinite(weights(classifier)).all()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    train = photo_folder(tmp_path, {"cup": 5, "bowl": 5})
    first = weights(fitted(train, epochs=2, batch_size=4))
    torch.rand(7)  # what the caller draws from torch's generator plays no part
    assert torch.equal(first, weights(fitted(train, epochs=2, batch_size=4)))
    assert not torch.equal(first, weights(fitted(train, seed=1, epochs=2, batch_size=4)))


@pytest.mark.slow
def test_fitting_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    train = photo_folder(tmp_path, {"cup": 2, "bowl": 2})
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(train)
    assert torch.equal(torch.rand(3), expected)


def test_exporting_before_a_fit_is_refused(tmp_path: Path) -> None:
    classifier = Classifier("resnet18", ("cup", "bowl"), image_size=64, weights="none", device="cpu")
    with pytest.raises(SettingError, match="Call fit first"):
        classifier.export(tmp_path / "model.onnx", photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 2}))
    assert not (tmp_path / "model.onnx").exists()


def test_a_device_that_is_not_one_is_refused() -> None:
    with pytest.raises(SettingError, match="auto, cpu, cuda"):
        Classifier("resnet18", ("cup", "bowl"), weights="none", device="tpu")  # type: ignore[arg-type]
