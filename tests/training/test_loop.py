from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.photos import photo_folder
from training.classifier import Classifier
from training.device import make_accelerator
from training.errors import SettingError
from training.images import Minibatch
from training.loop import evaluate, flip_half, train_one_epoch
from training.progress import Silent
from training.schedule import check_schedule, default_schedule, parse_schedule, schedule_from

pytestmark = pytest.mark.torch


class MeanColour(nn.Module):
    """A linear classifier of an image's mean colour, with dropout, so that the mode shows."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(3, 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.dropout(pixels.float().mean(dim=(1, 2)) / 255))
        return logits


def colours() -> list[Minibatch]:
    """Two minibatches of plain red, green and blue images."""
    pixels = (torch.eye(3, dtype=torch.uint8) * 255).view(3, 1, 1, 3).expand(3, 4, 4, 3)
    return [Minibatch(pixels, torch.arange(3)), Minibatch(pixels.flip(0), torch.arange(3).flip(0))]


def test_an_epoch_lowers_the_loss_of_the_next_one() -> None:
    torch.manual_seed(0)
    net = MeanColour()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    accelerator = make_accelerator("cpu")
    means = [train_one_epoch(net, colours(), optimizer, accelerator, Silent()) for _ in range(60)]
    assert means[-1].loss < 0.5 * means[0].loss
    assert evaluate(net, colours(), accelerator).argmax(1).tolist() == [0, 1, 2, 2, 1, 0]


def test_evaluation_keeps_the_order_and_uses_no_dropout() -> None:
    net = MeanColour().train()
    logits = [evaluate(net, colours(), make_accelerator("cpu")) for _ in range(2)]
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0][:3], logits[0][3:].flip(0))
    assert logits[0].shape == (6, 3)


def test_a_net_that_diverges_is_stopped_with_advice() -> None:
    net = MeanColour()
    nn.init.constant_(net.head.weight, torch.inf)
    with pytest.raises(SettingError, match="lower learning rates"):
        train_one_epoch(net, colours(), torch.optim.SGD(net.parameters()), make_accelerator("cpu"), Silent())


def test_about_half_of_the_images_are_mirrored_left_to_right_and_the_others_left_alone() -> None:
    pixels = torch.arange(2 * 3 * 3, dtype=torch.uint8).view(1, 2, 3, 3).expand(1000, 2, 3, 3)
    flipped = flip_half(pixels, torch.Generator().manual_seed(0))
    same = (flipped == pixels).flatten(1).all(1)
    mirrored = (flipped == pixels.flip(2)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 450 < int(mirrored.sum()) < 550
    assert flipped.dtype == torch.uint8


def test_a_schedule_is_read_epoch_by_epoch() -> None:
    assert parse_schedule("0.01*3, 1e-3*2,0.5") == (0.01, 0.01, 0.01, 0.001, 0.001, 0.5)


@pytest.mark.parametrize("text", ["", "fast", "0.01*", "0.01**2", "-0.1", "0", "nan", "0.01*0", "1e999"])
def test_what_is_not_a_schedule_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingError, match=r"0\.01\*8,0\.001\*2"):
        parse_schedule(text)


def test_epochs_and_rates_together_are_refused() -> None:
    with pytest.raises(SettingError, match="not both"):
        schedule_from(3, "0.01*3")


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_the_default_schedule_has_a_usable_rate_for_each_epoch(epochs: int) -> None:
    assert len(check_schedule(default_schedule(epochs))) == epochs
    assert schedule_from(epochs, None) == default_schedule(epochs)


@pytest.mark.slow
def test_each_epoch_uses_its_own_rate_and_is_recorded(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 3, "bowl": 3})
    classifier = Classifier("resnet18", dataset.labels, image_size=64, weights="none", device="cpu")
    history = classifier.fit(dataset, dataset, [0.01, 0.002], batch_size=4)
    assert [(epoch.epoch, epoch.learning_rate) for epoch in history.epochs] == [(1, 0.01), (2, 0.002)]
    for epoch in history.epochs:
        assert epoch.loss > 0
        assert epoch.eval_accuracy is not None
        assert min(epoch.train_accuracy, epoch.eval_accuracy) >= 0
        assert max(epoch.train_accuracy, epoch.eval_accuracy) <= 1
        assert epoch.images_per_second > 0
    assert classifier.history == history
