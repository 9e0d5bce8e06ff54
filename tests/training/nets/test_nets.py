import pytest
import torch
from torchvision import models
from torchvision.transforms.v2 import functional

from training.errors import SettingError
from training.nets.choice import BASES, MIN_IMAGE_SIDE
from training.nets.nets import PixelNet, build_net

pytestmark = pytest.mark.torch

WIDTHS = {
    "alexnet": 4096,
    "resnet18": 512,
    "resnet34": 512,
    "resnet50": 2048,
    "resnet101": 2048,
    "resnet152": 2048,
    "mobilenet_v2": 1280,
}
QUICK = ("resnet18", "mobilenet_v2")


def random_pixels(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8)


@pytest.mark.parametrize(
    "base", [pytest.param(base, marks=[] if base in QUICK else pytest.mark.slow) for base in BASES]
)
def test_every_base_scores_pixels_of_any_size_from_64_up(base: str) -> None:
    net = PixelNet(build_net(base, classes=3, weights="none")).eval()
    assert net.net.head.in_features == WIDTHS[base]
    for side in (MIN_IMAGE_SIDE, 224):
        pixels = random_pixels(1, side, side)
        with torch.inference_mode():
            logits, features = net(pixels), net.features(pixels)
            assert features.shape == (1, WIDTHS[base])
            assert logits.shape == (1, 3)
            assert logits.dtype == torch.float32
            torch.testing.assert_close(net.net.head(features), logits)


def test_the_same_seed_gives_the_same_net() -> None:
    torch.manual_seed(7)
    first = build_net("mobilenet_v2", classes=3, weights="none").state_dict()
    torch.manual_seed(7)
    second = build_net("mobilenet_v2", classes=3, weights="none").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_pixels_are_normalised_as_torchvision_normalises_them() -> None:
    pixels = random_pixels(2, 5, 7)
    preset = models.get_model_weights("resnet18")["IMAGENET1K_V1"].transforms()
    scaled = functional.to_dtype(pixels.permute(0, 3, 1, 2), torch.float32, scale=True)
    expected = functional.normalize(scaled, preset.mean, preset.std)
    net = PixelNet(build_net("resnet18", classes=2, weights="none"))
    torch.testing.assert_close(net.normalise(pixels), expected, atol=1e-5, rtol=0, check_stride=False)
    assert net.normalise(pixels).is_contiguous(memory_format=torch.channels_last)


def test_an_unknown_base_is_answered_with_the_list_of_bases() -> None:
    with pytest.raises(SettingError, match=r"'resnet19'.*alexnet, resnet18, .*, mobilenet_v2"):
        build_net("resnet19", classes=2, weights="none")
