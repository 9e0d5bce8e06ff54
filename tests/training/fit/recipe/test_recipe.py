import pytest

from training.errors import SettingError
from training.fit.recipe.recipe import (
    FROM_SCRATCH,
    GENTLE,
    LAST_BLOCKS,
    MOST_PHOTOS,
    PRESETS,
    Changes,
    Recipe,
    default_recipe,
    label_weights,
    parse_class_weights,
)
from training.fit.recipe.schedule import Stepwise

pytestmark = pytest.mark.torch


def test_the_classic_preset_is_the_2018_recipe() -> None:
    classic = PRESETS["classic"]
    assert (classic.base, classic.image_side) == ("resnet18", 224)
    assert classic.recipe.schedule == Stepwise((*[0.05] * 7, *[0.005] * 7, 0.0005))
    assert (classic.recipe.optimizer, classic.recipe.momentum, classic.recipe.batch_size) == ("sgd", 0.9, 32)
    assert (classic.recipe.augmentation, classic.recipe.head_first, classic.recipe.average) == ("none", False, 0)


def test_its_variant_for_accuracy_is_the_suggested_one() -> None:
    accurate = PRESETS["classic-500"]
    assert (accurate.base, accurate.image_side, accurate.recipe.batch_size) == ("resnet50", 500, 8)
    assert accurate.recipe.schedule == Stepwise((*[0.01] * 7, *[0.001] * 7, 0.0001))


def test_random_weights_have_a_recipe_of_their_own() -> None:
    assert default_recipe("none", 100) is FROM_SCRATCH
    assert default_recipe("offline:x", MOST_PHOTOS) is LAST_BLOCKS
    assert default_recipe("offline:x", MOST_PHOTOS + 1) is GENTLE
    assert not FROM_SCRATCH.frozen_batch_norm


def test_only_a_recipe_that_knows_no_rate_for_each_epoch_can_be_given_a_length() -> None:
    assert Changes(epochs=3).applied(GENTLE).schedule.epochs == 3
    with pytest.raises(SettingError, match="--learning-rates instead"):
        Changes(epochs=3).applied(PRESETS["classic"].recipe)
    with pytest.raises(SettingError, match="not both"):
        Changes(epochs=3, learning_rates=(0.1,))


def test_what_is_changed_goes_before_the_recipe_and_the_rest_stays() -> None:
    changed = Changes(learning_rates=(0.1, 0.2), batch_size=5, augmentation="none").applied(LAST_BLOCKS)
    assert (changed.schedule, changed.batch_size, changed.augmentation) == (Stepwise((0.1, 0.2)), 5, "none")
    assert (changed.views, changed.folds, changed.weight_decay) == (
        LAST_BLOCKS.views,
        LAST_BLOCKS.folds,
        LAST_BLOCKS.weight_decay,
    )
    assert Changes().applied(GENTLE) == GENTLE


@pytest.mark.parametrize("change", [{"batch_size": 1}, {"average": 1.0}, {"label_smoothing": -0.1}])
def test_a_recipe_that_cannot_work_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        Recipe(Stepwise((0.1,)), frozen_batch_norm=True, **change)  # type: ignore[arg-type]


def test_weights_are_averaged_under_frozen_statistics_only() -> None:
    with pytest.raises(SettingError, match="frozen_batch_norm"):
        Recipe(Stepwise((0.1,)), average=0.5)


def test_class_weights_are_none_automatic_or_named() -> None:
    counts = {"cup": 10, "bowl": 30}
    assert label_weights("none", counts) is None
    balanced = label_weights("balanced", counts)
    assert balanced is not None
    assert {label: balanced[label] * count for label, count in counts.items()} == {"cup": 20, "bowl": 20}
    assert label_weights("auto", counts) == balanced
    assert label_weights("auto", {"cup": 10, "bowl": 29}) is None
    assert label_weights(parse_class_weights("cup=2.5"), counts) == {"cup": 2.5, "bowl": 1.0}


@pytest.mark.parametrize("text", ["cup", "cup=", "cup=two", "=2=x", ""])
def test_class_weights_of_another_form_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingError, match="cup=2"):
        parse_class_weights(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [("plate=2", "'plate'.*cup, bowl"), ("cup=0", "1e-06 to 1000000"), ("cup=-1", "is -1"), ("cup=nan", "is nan")],
)
def test_class_weights_that_cannot_be_used_say_which_can(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        label_weights(parse_class_weights(text), {"cup": 1, "bowl": 1})
