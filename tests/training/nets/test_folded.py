import pytest
import torch
from torch import nn

from training.nets.folded import folded
from training.nets.nets import PixelNet, build_net

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("base", ["mobilenet_v2", "resnet18", "resnet50", "alexnet"])
def test_a_folded_net_has_the_features_of_the_net_and_leaves_it_as_it_is(base: str) -> None:
    torch.manual_seed(0)
    net = PixelNet(build_net(base, 2, "none"))
    pixels = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    net.train()
    with torch.no_grad():
        net(pixels)  # which moves the statistics
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    made = folded(net)
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in made.modules())
    with torch.inference_mode():
        wanted, found = net.eval().features(pixels), made.features(pixels)
    assert (wanted - found).abs().max() < 1e-5 * max(1.0, float(wanted.abs().max()))
