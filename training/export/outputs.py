"""Everything that the file answers, computed from pixels by one net: logits and what stands beside them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from salver.artifact.manifest import OUTPUT_NAMES, OutputName, PixelSpec
from training.evaluation.model_file import Answers
from training.fit.features.familiarity import Plane
from training.nets.nets import PixelNet


class OutputNet(nn.Module):
    """uint8 pixels [batch, height, width, 3] to a tuple of the outputs `names`, in the order of OUTPUT_NAMES.

    features: float32 [batch, width], what the last layer reads. familiarity: [batch]. heat: [batch, classes, rows,
    columns], the last layer applied to each cell of the feature map before pooling, so that its mean plus the bias is
    the logit.
    """

    def __init__(self, net: PixelNet, plane: Plane | None, wanted: Sequence[OutputName] = OUTPUT_NAMES) -> None:
        """What the net cannot give is left out of `names`: heat without a map of cells, familiarity without a plane."""
        super().__init__()
        self.net = net
        self.familiarity = plane
        missing = ([] if net.net.has_map else ["heat"]) + ([] if plane else ["familiarity"])
        self.names = tuple(name for name in OUTPUT_NAMES if name in wanted and name not in missing)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        net, images = self.net.net, self.net.normalise(pixels)
        cells = net.map(images) if net.has_map else None
        features = net.backbone(images) if cells is None else cells.mean(dim=(2, 3))
        answers = {"logits": net.head(features), "features": features}
        if "familiarity" in self.names and self.familiarity is not None:
            answers["familiarity"] = self.familiarity(features)
        if "heat" in self.names and cells is not None:
            # As rows, so that the file holds the layer's weights once.
            rows = nn.functional.linear(cells.permute(0, 2, 3, 1).flatten(0, 2), net.head.weight)
            answers["heat"] = rows.view(-1, *cells.shape[2:], len(net.head.weight)).permute(0, 3, 1, 2)
        return tuple(answers[name] for name in self.names)

    @torch.inference_mode()
    def answers(self, pixels: NDArray[np.uint8]) -> Answers:
        """The outputs by name for pixels [batch, height, width, 3]."""
        return {name: answer.numpy() for name, answer in zip(self.names, self(torch.from_numpy(pixels)), strict=True)}

    def shapes(self, spec: PixelSpec) -> dict[OutputName, tuple[int, ...]]:
        """Of each output, batch aside."""
        answers = self.answers(np.zeros((1, spec.height, spec.width, 3), np.uint8))
        return {name: answer.shape[1:] for name, answer in answers.items()}

    def bias(self) -> NDArray[np.float64]:
        """[classes], what the mean of each label's heat lacks to be its logit."""
        return self.net.net.head.bias.detach().numpy().astype(np.float64)
