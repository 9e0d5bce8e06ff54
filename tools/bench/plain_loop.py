"""The loop that most people write, to compare with: python -m tools.bench.plain_loop PHOTOS."""

import sys
import time

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

BATCH, WORKERS = 32, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images_per_second(folder: str) -> float:
    """Of the second of two epochs of MobileNetV2 at 224 pixels: NCHW, two loader workers, SGD."""
    floats = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    photos = ImageFolder(folder, v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), *floats]))
    loader = DataLoader(photos, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    net = models.get_model("mobilenet_v2", num_classes=len(photos.classes))
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9)
    for _ in range(2):
        began = time.perf_counter()
        for images, targets in loader:
            loss = cross_entropy(net(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return len(photos) / (time.perf_counter() - began)


if __name__ == "__main__":
    print(images_per_second(sys.argv[1]))  # noqa: T201
