"""The nets: a torchvision backbone, a fresh last layer, the wrapper that starts from pixels, and which pixels.

A net is split at its last layer: `backbone` gives the feature vector, `head` turns it into logits. Fine-tuning trains
both; a classifier on fixed features needs the first alone.
"""

import copy
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torchvision import models

from salver.artifact.manifest import PixelSpec
from training.nets.choice import LAST_LAYERS, check_base, check_size
from training.nets.weights import load_weights

Resize = Literal["crop", "pad", "stretch"]

_CUT = 14
"""Of MobileNetV2's 19 blocks."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Net(nn.Module):
    """Normalised images, float [batch, 3, height, width], to logits, float [batch, classes].

    `backbone` gives features [batch, `head.in_features`]: 512 for ResNet-18 and 34, 2048 for the deeper ones, 4096 for
    AlexNet, 1280 for MobileNetV2. `weights` says where the backbone's weights came from.
    """

    def __init__(self, base: str, backbone: nn.Module, head: nn.Linear, weights: str) -> None:
        super().__init__()
        self.base = base
        self.backbone = backbone
        self.head = head
        self.weights = weights

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.backbone(images)))

    def cut(self) -> tuple[nn.Module, nn.Module]:
        """The backbone's layers up to its last blocks, images to maps, and those blocks, maps to features.

        The last blocks are what is fine-tuned on maps that are kept: layer 4 of a ResNet, the last five blocks of
        MobileNetV2, AlexNet's layers after the pooling.
        """
        layers = dict(self.backbone.named_children())
        if isinstance(self.backbone, models.MobileNetV2):
            blocks = list(self.backbone.features)
            return nn.Sequential(*blocks[:_CUT]), nn.Sequential(*blocks[_CUT:], nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if isinstance(self.backbone, models.ResNet):
            begin = [layers[name] for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")]
            return nn.Sequential(*begin), nn.Sequential(layers["layer4"], layers["avgpool"], nn.Flatten())
        return nn.Sequential(layers["features"], layers["avgpool"], nn.Flatten()), layers["classifier"]

    @property
    def has_map(self) -> bool:
        """Whether the features are the plain mean of a map's cells: so it is with ResNets and MobileNetV2."""
        return isinstance(self.backbone, models.ResNet | models.MobileNetV2)

    def map(self, images: Tensor) -> Tensor:
        """That map, float [batch, `head.in_features`, rows, columns]."""
        if isinstance(self.backbone, models.MobileNetV2):
            return cast(Tensor, self.backbone.features(images))
        layers = dict(self.backbone.named_children())
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            images = layers[name](images)
        return images


class Tail(nn.Module):
    """The last blocks and the last layer of a net, not copies: maps [batch, …] to logits [batch, classes]."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.blocks = net.cut()[1]
        self.head = net.head

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.blocks(maps)))

    @property
    def learned(self) -> tuple[nn.Module, nn.Linear]:
        """The blocks and the last layer, which learn at rates of their own."""
        return self.blocks, self.head


class PixelNet(nn.Module):
    """uint8 pixels [batch, height, width, 3] to float32 logits [batch, classes]: what is trained and exported.

    Scaling and ImageNet's mean and standard deviation are inside, so the model file needs no preparation beside it.
    Pixels come with the channel last, so the net receives channels-last memory without a copy.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 [batch, height, width, 3] to float [batch, 3, height, width], zero mean and unit deviation."""
        images = pixels.permute(0, 3, 1, 2).to(self.mean.dtype)
        return (images - self.mean) / self.std

    @property
    def learned(self) -> tuple[nn.Module, nn.Linear]:
        """The backbone and the last layer, which learn at rates of their own."""
        return self.net.backbone, self.net.head

    def features(self, pixels: Tensor) -> Tensor:
        """uint8 [batch, height, width, 3] to the vectors before the last layer, float [batch, width]."""
        return cast(Tensor, self.net.backbone(self.normalise(pixels)))

    def forward(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.net(self.normalise(pixels)))


def build_net(base: str, classes: int, weights: str = "imagenet") -> Net:
    """A torchvision net with `weights` (see `load_weights`) and a fresh last layer of `classes` outputs.

    What is random (the last layer, everything with weights "none") comes from torch's global generator: call
    `torch.manual_seed` before. Raises SettingError for an unknown base and WeightsError for the weights.
    """
    check_base(base, weights)
    backbone: nn.Module = models.get_model(base, weights=None)
    last = cast(nn.Linear, backbone.get_submodule(LAST_LAYERS[base]))
    backbone.set_submodule(LAST_LAYERS[base], nn.Identity())
    source = load_weights(backbone, base, weights, LAST_LAYERS[base])
    return Net(base, backbone, nn.Linear(last.in_features, classes), source)


def pixel_spec(image_size: int | tuple[int, int], resize: Resize = "crop") -> PixelSpec:
    """With `crop` the image's shorter side first becomes 256/224 of the larger side of `image_size`.

    Raises SettingError for a side below 64 or above 3584 pixels.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    check_size(height, width)
    shorter_side = round(max(height, width) * 256 / 224) if resize == "crop" else None
    return PixelSpec(height=height, width=width, resize=resize, shorter_side=shorter_side)


def on_cpu(net: PixelNet) -> PixelNet:
    """A copy for inference: on the CPU, in evaluation mode, weights in the memory order that ONNX stores."""
    return copy.deepcopy(net).cpu().to(memory_format=torch.contiguous_format).eval()
