from pathlib import Path

import pytest
import torch

from tests.training.support.photos import photo_folder
from training.fit.device import make_accelerator
from training.fit.minibatches import Minibatches
from training.fit.tail import maps as module
from training.fit.tail.maps import keep_maps, views_that_fit
from training.nets.choice import BASES
from training.nets.nets import PixelNet, build_net, pixel_spec
from training.progress import Silent

pytestmark = pytest.mark.torch


def net(base: str) -> PixelNet:
    torch.manual_seed(2)
    return PixelNet(build_net(base, 2, "none")).eval()


@pytest.mark.parametrize("base", ["mobilenet_v2", "resnet18", "alexnet"])
def test_kept_maps_are_the_exported_nets_at_the_cut_and_make_its_features(tmp_path: Path, base: str) -> None:
    """Row N3-31."""
    of, dataset = net(base), photo_folder(tmp_path, {"a": 3, "b": 2})
    images = Minibatches(dataset, dataset.labels, pixel_spec(64))
    kept = keep_maps(of, images, 3, "light", seed=1, accelerator=make_accelerator("cpu"), progress=Silent())
    pixels = images.read(range(5)).pixels
    first = kept.unchanged(torch.arange(5))
    with torch.inference_mode():
        trunk, tail = of.net.cut()
        assert (first - trunk(of.normalise(pixels))).abs().max() <= 1e-5 * first.abs().max()
        features = of.features(pixels)
        torch.testing.assert_close(tail(first), features, rtol=1e-5, atol=1e-5)


def test_the_views_are_one_photo_changed_and_a_number_chooses_among_them(tmp_path: Path) -> None:
    of, dataset = net("resnet18"), photo_folder(tmp_path, {"a": 3, "b": 2})
    images = Minibatches(dataset, dataset.labels, pixel_spec(64))

    def kept(seed: int) -> module.Maps:
        return keep_maps(of, images, 3, "light", seed=seed, accelerator=make_accelerator("cpu"), progress=Silent())

    one, same, other = kept(1), kept(1), kept(2)
    part = [([2, 4], torch.tensor([0, 4]))]  # the photo as it is, and its second view
    (drawn,), (again,), (changed,) = (list(each.changed(part, "none")) for each in (one, same, other))
    assert torch.equal(drawn.pixels, again.pixels)
    assert torch.equal(drawn.pixels[0], one.unchanged(torch.tensor([2]))[0])
    assert not torch.equal(drawn.pixels[1], one.unchanged(torch.tensor([4]))[0])
    assert not torch.equal(drawn.pixels[1], changed.pixels[1])
    assert drawn.targets.tolist() == images.targets[[2, 4]].tolist()


@pytest.mark.parametrize("base", BASES)
def test_every_net_can_be_cut_in_two(base: str) -> None:
    of = net(base)
    pixels = torch.randint(256, (1, 64, 64, 3), dtype=torch.uint8)
    trunk, tail = of.net.cut()
    with torch.inference_mode():
        torch.testing.assert_close(tail(trunk(of.normalise(pixels))), of.features(pixels))


def test_memory_bounds_the_views(monkeypatch: pytest.MonkeyPatch) -> None:
    of, spec = net("resnet18"), pixel_spec(64)
    one = 4 * 256 * 4 * 4  # layer 3 of a picture of 64 pixels
    monkeypatch.setattr(module, "MAPS_BYTES", 10 * 5 * one)
    assert [views_that_fit(of, spec, photos, 8) for photos in (5, 10, 50, 51)] == [8, 5, 1, 0]
