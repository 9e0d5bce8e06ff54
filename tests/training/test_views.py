from dataclasses import replace

import pytest
import torch

from training.images import generator
from training.recipe import FROM_SCRATCH
from training.views import random_boxes, shown

pytestmark = pytest.mark.torch

PLAIN = replace(FROM_SCRATCH, flip=False, zoom=0.0)


def picture(count: int) -> torch.Tensor:
    """A smooth ramp in each direction: red from left to right, green from top to bottom."""
    ramp = torch.linspace(0, 250, 64)
    channels = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.full((64, 64), 9.0)], 2)
    return channels.round().to(torch.uint8).expand(count, 64, 64, 3)


def test_without_zoom_and_mirror_the_pixels_stay_as_they_are() -> None:
    pixels = picture(5)
    assert torch.equal(shown(pixels, random_boxes(5, PLAIN, generator(0))), pixels)


def test_about_half_of_the_images_are_mirrored_left_to_right_and_the_others_left_alone() -> None:
    pixels = picture(400)
    seen = shown(pixels, random_boxes(400, replace(PLAIN, flip=True), generator(1)))
    same = (seen == pixels).flatten(1).all(1)
    mirrored = (seen == pixels.flip(2)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 160 < int(mirrored.sum()) < 240
    assert seen.dtype == torch.uint8


def test_a_zoomed_image_shows_a_part_of_the_image_and_nothing_else() -> None:
    seen = shown(picture(300), random_boxes(300, replace(PLAIN, zoom=0.4), generator(2))).float()
    width = (seen[:, 32, -1, 0] - seen[:, 32, 0, 0]) / 250
    height = (seen[:, -1, 32, 1] - seen[:, 0, 32, 1]) / 250
    area = width * height
    assert 0.55 < float(area.min()) < 0.65
    assert 0.9 < float(area.max()) <= 1
    assert float((seen[..., 2] - 9).abs().max()) == 0
    assert float(seen[:, :, 0, 0].max()) > 40  # the part lies anywhere
    assert float(seen[:, :, -1, 0].min()) < 210


def test_the_same_generator_gives_the_same_views() -> None:
    recipe = replace(PLAIN, flip=True, zoom=0.4)
    assert torch.equal(random_boxes(6, recipe, generator(3, 1)), random_boxes(6, recipe, generator(3, 1)))
    assert not torch.equal(random_boxes(6, recipe, generator(3, 1)), random_boxes(6, recipe, generator(3, 2)))
