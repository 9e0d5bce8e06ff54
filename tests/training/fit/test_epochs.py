from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.support.photos import photo_folder
from training.errors import Interrupted
from training.fit.checkpoint import Checkpoint
from training.fit.device import make_accelerator
from training.fit.epochs import train_epochs
from training.fit.minibatches import Minibatches
from training.fit.recipe.recipe import Recipe
from training.fit.recipe.schedule import Stepwise
from training.fit.state import FitState
from training.nets.nets import PixelNet, build_net, pixel_spec
from training.progress import Silent

pytestmark = pytest.mark.torch

RECIPE = Recipe(Stepwise((1e-4,) * 3), batch_size=4, augmentation="none", frozen_batch_norm=True, average=0.5)


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, line: str) -> None:
        super().report(line)
        self.lines.append(line)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Minibatches:
    dataset = photo_folder(tmp_path_factory.mktemp("photos"), {"cup": 5, "bowl": 4})
    return Minibatches(dataset, dataset.labels, pixel_spec(64))


def state(asked_to_stop: Callable[[], bool] = lambda: False) -> FitState:
    torch.manual_seed(0)
    return FitState(PixelNet(build_net("mobilenet_v2", 2, "none")), RECIPE, seed=0, asked_to_stop=asked_to_stop)


def kept_at(path: Path) -> Checkpoint:
    return Checkpoint(path, {"net": "this one"}, {})


def test_each_epoch_is_watched_kept_and_told_and_the_average_comes_last(images: Minibatches, tmp_path: Path) -> None:
    fit, lines, told, right = state(), Lines(), [], iter((0.5, 0.6, 0.7))
    before = {name: tensor.clone() for name, tensor in fit.net.named_parameters()}
    train_epochs(
        fit,
        images,
        make_accelerator("cpu"),
        compiled=False,
        accuracy=lambda: next(right),
        kept=kept_at(tmp_path / "state"),
        told=lambda epochs: told.append(len(epochs)),
        progress=lines,
    )
    assert told == [0, 1, 2, 3]
    assert [epoch.eval_accuracy for epoch in fit.progressed.epochs] == [0.5, 0.6, 0.7]
    assert [line[: len("epoch   1")] for line in lines.lines] == ["epoch   1", "epoch   2", "epoch   3"]
    assert lines.lines[-1].endswith("0:00 left")
    last = state()
    assert kept_at(tmp_path / "state").load(last)
    assert last.progressed == fit.progressed
    weights = dict(last.net.named_parameters())  # those of the last step: the checkpoint goes on from there
    for name, averaged in fit.net.named_parameters():
        torch.testing.assert_close(averaged, weights[name].lerp(before[name], 0.5))


def test_a_fit_that_is_asked_to_stop_is_kept_where_it_stands_and_goes_on_as_if_it_had_not(
    images: Minibatches, tmp_path: Path
) -> None:
    answers = iter([False, False, False, True])  # after the second step of the second epoch
    accelerator = make_accelerator("cpu")
    stopped, whole = state(lambda: next(answers)), state()
    with pytest.raises(Interrupted, match="epoch 1, step 2"):
        train_epochs(
            stopped,
            images,
            accelerator,
            compiled=False,
            accuracy=None,
            kept=kept_at(tmp_path / "state"),
            told=lambda _: None,
            progress=Silent(),
        )
    again = state()
    assert kept_at(tmp_path / "state").load(again)
    for fit in (again, whole):
        train_epochs(
            fit,
            images,
            accelerator,
            compiled=False,
            accuracy=None,
            kept=None,
            told=lambda _: None,
            progress=Silent(),
        )
    for one, other in zip(again.net.state_dict().values(), whole.net.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
