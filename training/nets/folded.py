"""A net that only gives features, without batch normalisation: a quarter to a third of its time on a CPU."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.nets.nets import PixelNet


def folded(net: PixelNet) -> PixelNet:
    """A copy in evaluation mode whose convolutions do what the batch normalisation behind each did; the same answers
    but for the last digits (1e-6 of the largest).

    In the nets of `training.nets.nets` the one that follows a convolution among a module's children also follows it
    when they are computed.
    """
    made = copy.deepcopy(net).eval()
    for module in made.modules():
        for (first, convolution), (second, normalisation) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(convolution, normalisation))
                setattr(module, second, nn.Identity())
    return made.to(memory_format=torch.channels_last)
