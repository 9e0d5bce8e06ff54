from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.errors import Interrupted
from training.fit.device import make_accelerator
from training.fit.epochs import Fitting, train_epochs
from training.fit.heads.linear import Linear, fit_linear, logistic_regression, put_layer
from training.fit.heads.out_of_fold import OutOfFold
from training.fit.minibatches import generator
from training.fit.recipe.recipe import LAST_BLOCKS, Changes
from training.fit.state import FitState
from training.fit.tail.folded import fit_last_blocks
from training.fit.tail.maps import Maps
from training.nets.nets import PixelNet, Tail, build_net
from training.progress import Silent

pytestmark = pytest.mark.torch

RECIPE = Changes(epochs=2, batch_size=8).applied(LAST_BLOCKS)
PHOTOS = 24


def net(base: str = "mobilenet_v2") -> PixelNet:
    torch.manual_seed(1)
    return PixelNet(build_net(base, 2, "none")).eval()


def maps_of(shuffled: bool = False, base: str = "mobilenet_v2") -> Maps:
    """Of noise that the labels shift, in two views."""
    random = torch.Generator().manual_seed(5)
    targets = torch.arange(PHOTOS) % 2
    shape = {"mobilenet_v2": (96, 4, 4), "resnet18": (256, 4, 4), "alexnet": (9216,)}[base]
    shift = targets.view(1, -1, *[1] * len(shape))
    maps = torch.randn((2, PHOTOS, *shape), generator=random) + 2.0 * shift
    return Maps(maps, targets[torch.randperm(PHOTOS, generator=random)] if shuffled else targets)


def first_layer(of: PixelNet, maps: Maps) -> Callable[[NDArray[np.bool_]], Linear]:
    features = Tail(of.net).blocks(maps.unchanged(torch.arange(PHOTOS))).detach()

    def layer(learnt: NDArray[np.bool_]) -> Linear:
        chosen = torch.from_numpy(learnt)
        return fit_linear(logistic_regression(), features[chosen], maps.targets[chosen], 2)

    return layer


def fitted(
    folds: Sequence[int], base: str = "mobilenet_v2", *, shuffled: bool = False, seed: int = 3
) -> tuple[PixelNet, OutOfFold]:
    of = net(base)
    maps = maps_of(shuffled, base)
    how = Fitting(RECIPE, seed)
    answers, epochs = fit_last_blocks(
        of, maps, np.array(folds), first_layer(of, maps), how, make_accelerator("cpu"), progress=Silent()
    )
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    return of, answers


FOLDS = [number // 2 % 3 for number in range(PHOTOS)]


@pytest.mark.parametrize("base", ["mobilenet_v2", "resnet18"])
def test_the_blocks_before_stay_to_the_last_bit_and_so_do_all_statistics(base: str) -> None:
    """Row N3-31."""
    before = net(base)
    after, _ = fitted(FOLDS, base)
    trunk, tail = before.net.cut()
    learnt = after.net.cut()
    for name, tensor in trunk.state_dict().items():
        assert torch.equal(learnt[0].state_dict()[name], tensor), name
    moved = 0
    for name, tensor in tail.state_dict().items():
        same = torch.equal(learnt[1].state_dict()[name], tensor)
        if "running" in name or "tracked" in name:
            assert same, name
        else:
            moved += not same
    assert moved > 0


def test_every_photo_is_answered_by_the_fold_that_did_not_learn_it() -> None:
    _, answers = fitted(FOLDS)
    assert np.isfinite(answers.logits).all()
    assert answers.judged.all()
    assert answers.accuracy > 0.8


def test_a_fold_alone_is_what_it_is_in_the_row() -> None:
    """Row N3-21: no fold goes on from the one before, and its random numbers are its own."""
    _, row = fitted(FOLDS)
    of = net()
    maps = maps_of()
    number, folds = 2, np.array(FOLDS)
    tail = Tail(of.net)
    layer = first_layer(of, maps)(folds != number)
    put_layer(tail.head, layer)
    fit = FitState(tail, RECIPE, generator(3, number).initial_seed())
    learnt = maps.of(np.flatnonzero(folds != number))
    accelerator = make_accelerator("cpu")
    train_epochs(fit, learnt, accelerator, accuracy=None, kept=None, told=lambda _: None, progress=Silent())
    with torch.inference_mode():
        alone = tail.eval()(maps.unchanged(torch.from_numpy(np.flatnonzero(folds == number))))
    np.testing.assert_allclose(row.logits[folds == number], alone.numpy(), atol=1e-6)


def test_with_shuffled_labels_no_fold_knows_more_than_chance_and_none_more_than_the_one_before() -> None:
    """Row N3-21."""
    _, answers = fitted(FOLDS, shuffled=True)
    right = answers.logits.argmax(1) == answers.truths
    by_fold = [right[np.array(FOLDS) == number].mean() for number in range(3)]
    assert abs(right.mean() - 0.5) < 0.25
    assert max(by_fold) < 0.9


def test_a_photo_of_no_fold_is_learnt_by_all_and_without_folds_none_is_judged() -> None:
    folds = list(FOLDS)
    folds[0] = -1
    _, answers = fitted(folds)
    assert np.isnan(answers.logits[0]).all()
    assert np.isfinite(answers.logits[1:]).all()
    _, nothing = fitted([-1] * PHOTOS)
    assert not nothing.judged.any()
    assert np.isnan(nothing.accuracy)


@pytest.mark.slow
def test_the_blocks_of_alexnet_can_be_trained_too() -> None:
    _, answers = fitted(FOLDS, "alexnet")
    assert np.isfinite(answers.logits).all()


def test_a_wish_to_stop_ends_the_fold() -> None:
    of = net()
    maps = maps_of()
    how = replace(Fitting(RECIPE, 3), asked_to_stop=lambda: True)
    with pytest.raises(Interrupted):
        fit_last_blocks(
            of, maps, np.array(FOLDS), first_layer(of, maps), how, make_accelerator("cpu"), progress=Silent()
        )
