import pytest
import torch

from tests.training.support.photos import photo_folder
from training.errors import Interrupted, SettingError
from training.fit.device import make_accelerator
from training.fit.loop import infer, train_one_epoch
from training.fit.minibatches import Minibatches
from training.fit.recipe.recipe import Recipe
from training.fit.recipe.schedule import Stepwise
from training.fit.state import FitState
from training.nets.nets import PixelNet, build_net, pixel_spec
from training.progress import Silent

pytestmark = pytest.mark.torch

RECIPE = Recipe(Stepwise((1e-4,) * 3), batch_size=4, augmentation="none")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Minibatches:
    dataset = photo_folder(tmp_path_factory.mktemp("photos"), {"cup": 5, "bowl": 4})
    return Minibatches(dataset, dataset.labels, pixel_spec(64))


def fit(recipe: Recipe = RECIPE, base: str = "resnet18") -> FitState:
    torch.manual_seed(0)
    return FitState(PixelNet(build_net(base, 2, "none")), recipe, seed=0)


def epoch(fit: FitState, images: Minibatches) -> None:
    train_one_epoch(fit.net, fit, images, make_accelerator("cpu"), progress=Silent())


def test_an_epoch_sees_every_image_and_the_next_one_has_a_lower_loss(images: Minibatches) -> None:
    fitting = fit()
    ended = []
    for _ in range(3):
        epoch(fitting, images)
        assert (fitting.progressed.images, fitting.progressed.step) == (9, 2)
        ended.append(fitting.end_epoch(None, 0.0))
    assert ended[-1].loss < ended[0].loss
    assert [one.epoch for one in ended] == [1, 2, 3]
    assert 0 <= ended[0].train_accuracy <= 1
    assert ended[0].images_per_second > 0
    assert 0 <= ended[0].waiting_share < 1


def test_answers_come_in_the_order_of_the_images_and_without_dropout(images: Minibatches) -> None:
    net = fit(base="mobilenet_v2").net.eval()
    whole = infer(net, images, make_accelerator("cpu"), Silent())
    assert whole.shape == (9, 2)
    with torch.inference_mode():
        torch.testing.assert_close(whole[7:8], net(images.read([7]).pixels), atol=1e-5, rtol=0)
    assert torch.equal(whole, infer(net, images, make_accelerator("cpu"), Silent()))


def test_a_net_that_diverges_is_stopped_with_advice(images: Minibatches) -> None:
    fitting = fit()
    torch.nn.init.constant_(fitting.net.learned[1].weight, torch.inf)
    with pytest.raises(SettingError, match="lower learning rates"):
        epoch(fitting, images)


def test_a_wish_to_stop_is_granted_after_the_step(images: Minibatches) -> None:
    fitting = fit()
    fitting.asked_to_stop = lambda: True
    with pytest.raises(Interrupted, match="epoch 0, step 1"):
        epoch(fitting, images)
    assert fitting.progressed.step == 1


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_weights(images: Minibatches) -> None:
    for frozen in (True, False):
        fitting = fit(Recipe(Stepwise((0.01,)), batch_size=4, frozen_batch_norm=frozen))
        before = {name: tensor.clone() for name, tensor in fitting.net.state_dict().items()}
        epoch(fitting, images)
        after = fitting.net.state_dict()
        assert torch.equal(before["net.backbone.bn1.running_mean"], after["net.backbone.bn1.running_mean"]) is frozen
        assert not torch.equal(before["net.backbone.bn1.weight"], after["net.backbone.bn1.weight"])


def test_the_backbone_learns_at_its_own_rate() -> None:
    fitting = fit(Recipe(Stepwise((0.5, 0.1)), backbone_rate=0.1, batch_size=4))
    fitting.set_rate(1.5)
    assert [group["lr"] for group in fitting.optimizer.param_groups] == pytest.approx([0.01, 0.1])


def test_a_class_weight_counts_like_so_many_copies_of_the_image(images: Minibatches) -> None:
    """By the gradient of one step from the same net: SGD's change of weights is that, times the rate."""

    def step(weights: torch.Tensor | None) -> torch.Tensor:
        recipe = Recipe(Stepwise((0.1,)), optimizer="sgd", batch_size=9, weight_decay=0, augmentation="none")
        fitting = fit(recipe, "alexnet")
        fitting.class_weights = weights
        before = fitting.net.learned[1].bias.detach().clone()
        epoch(fitting, images)
        return (fitting.net.learned[1].bias.detach() - before) / 0.1

    plain, weighted = step(None), step(torch.tensor([1.0, 1e6]))
    cups = float((images.targets == 1).float().mean())
    assert plain[1] == pytest.approx(cups - 0.5, abs=0.1)  # an untrained net gives each label about one half
    assert weighted[1] == pytest.approx(1 - 0.5, abs=0.1)


def test_the_average_lies_between_start_and_end(images: Minibatches) -> None:
    fitting = fit(Recipe(Stepwise((0.01,)), batch_size=4, frozen_batch_norm=True, average=0.25))
    start = fitting.net.learned[1].weight.detach().clone()
    epoch(fitting, images)
    end = fitting.net.learned[1].weight.detach().clone()
    fitting.average()
    torch.testing.assert_close(fitting.net.learned[1].weight.detach(), 0.25 * start + 0.75 * end)


def test_the_history_holds_the_rate_in_the_middle_of_each_epoch(images: Minibatches) -> None:
    fitting = fit(Recipe(Stepwise((0.01, 0.002)), batch_size=4))
    epoch(fitting, images)
    fitting.end_epoch(0.5, 0.1)
    epoch(fitting, images)
    fitting.end_epoch(0.5, 0.1)
    assert [one.learning_rate for one in fitting.progressed.epochs] == [0.01, 0.002]
