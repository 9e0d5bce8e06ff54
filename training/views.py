"""Random views of training images, a whole minibatch at a time: mirrored, and a part of each enlarged.

On the net's own device, and from one generator, so that several processes see the views that one would.
"""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from training.recipe import Recipe

RATIO = 1.25
"""A part is up to so many times as wide or as high as the image's own form."""


def random_boxes(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Which part of each image is shown, float32 [count, 2, 3]: the matrices that `affine_grid` takes."""
    mirrored = (torch.rand(count, generator=generator) < 0.5) & recipe.flip
    area = 1 - recipe.zoom * torch.rand(count, generator=generator)
    ratio = RATIO ** (2 * torch.rand(count, generator=generator) - 1) if recipe.zoom else torch.ones(count)
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    middles = (1 - sides) * (2 * torch.rand((count, 2), generator=generator) - 1)
    boxes = torch.diag_embed(sides)
    boxes[:, 0, 0] *= 1 - 2 * mirrored.float()
    return torch.cat([boxes, middles[:, :, None]], 2)


def shown(pixels: Tensor, boxes: Tensor) -> Tensor:
    """These parts of uint8 pixels [batch, height, width, 3], enlarged to the same size."""
    images = pixels.permute(0, 3, 1, 2).float()
    grid = affine_grid(boxes.to(pixels.device), list(images.shape), align_corners=False)
    seen = grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return seen.round().to(torch.uint8).permute(0, 2, 3, 1)
