"""How a net is fine-tuned: the default, which docs/training.md has the measurements for, and the 2018 package's."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from training.errors import SettingError
from training.fit.recipe.schedule import Cosine, Schedule, Stepwise
from training.ranges import (
    AVERAGE,
    BACKBONE_RATE,
    BATCH_SIZE,
    CLASS_WEIGHT,
    MOMENTUM,
    SMOOTHING,
    WEIGHT_DECAY,
    check_names,
)

ClassWeights = Literal["auto", "none", "balanced"] | Mapping[str, float]
"""What an image of each label counts: as "balanced" where the numbers of images differ much, else as "none"; all alike;
each label the same in sum; or a factor for some labels."""
MUCH = 3
"""Times as many images of one label as of another, from which on they are balanced."""

Augmentation = Literal["none", "flip", "light", "trivial", "randaugment"]
"""What `training.fit.augmentation` makes of each."""


@dataclass(frozen=True)
class Recipe:
    """One way to fine-tune all layers."""

    schedule: Schedule
    """Of the last layer; the other layers learn `backbone_rate` times as fast."""
    backbone_rate: float = 1.0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW (Loshchilov and Hutter, 2019), or SGD with momentum."""
    batch_size: int = 16
    """Images in a step, over all processes together."""
    momentum: float = 0.9
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    augmentation: Augmentation = "flip"
    """How training images are changed, anew in each epoch."""
    head_first: bool = False
    """Start with a last layer that was fitted in closed form on the features of the untouched net."""
    frozen_batch_norm: bool = False
    """Keep batch normalisation's statistics: a small set would replace those of a million images by poor ones."""
    average: float = 0.0
    """How much of the starting weights the result keeps: a mean of both ends answers more steadily than the last one
    (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022)."""

    views: int = 0
    """Above 0 the last blocks alone are trained, on maps of at most so many views of each photo that are kept."""
    folds: int = 0
    """Into which the photos fall, where the last blocks alone are trained."""

    def __post_init__(self) -> None:
        BATCH_SIZE.check(self.batch_size)
        BACKBONE_RATE.check(self.backbone_rate)
        MOMENTUM.check(self.momentum)
        WEIGHT_DECAY.check(self.weight_decay)
        SMOOTHING.check(self.label_smoothing)
        AVERAGE.check(self.average)
        if self.average and not self.frozen_batch_norm:
            raise SettingError("Weights can be averaged only under the same statistics: set frozen_batch_norm too.")


GENTLE = Recipe(
    Cosine(peak=1e-3, epochs=8),
    backbone_rate=0.1,
    label_smoothing=0.1,
    augmentation="light",
    head_first=True,
    frozen_batch_norm=True,
    average=0.5,
)
"""For pretrained weights and many photos."""
LAST_BLOCKS = replace(GENTLE, average=0.25, views=8, folds=5)
"""For pretrained weights."""
QUICK = replace(LAST_BLOCKS, views=4, folds=3)
"""The same in about half the time."""
MOST_PHOTOS = 2_000
"""To learn from, for which the last blocks alone are trained: of more, all layers learn and a part is watched."""
FROM_SCRATCH = Recipe(Cosine(peak=1e-3, epochs=10), batch_size=32)
"""For random weights, which have nothing to be kept."""


@dataclass(frozen=True)
class Preset:
    """A recipe and the net and size that it was made for; options of the command line go before it."""

    recipe: Recipe
    base: str
    image_side: int


def _classic(rates: tuple[float, ...], batch_size: int) -> Recipe:
    """SGD at one rate a minibatch, no augmentation; the 2018 package's tool added no weight decay."""
    return Recipe(Stepwise(rates), optimizer="sgd", batch_size=batch_size, weight_decay=0.0, augmentation="none")


PRESETS = {
    "quick": Preset(QUICK, "resnet18", 224),
    "all-layers": Preset(GENTLE, "resnet18", 224),
    "classic": Preset(_classic((0.05,) * 7 + (0.005,) * 7 + (0.0005,), 32), "resnet18", 224),
    "classic-500": Preset(_classic((0.01,) * 7 + (0.001,) * 7 + (0.0001,), 8), "resnet50", 500),
}
"""By name. The classic ones are the 2018 package's recipe, and the one it suggested for more accuracy."""


def default_recipe(weights: str, photos: int) -> Recipe:
    """For a net whose weights came from there (`Net.weights`), and so many photos to learn from."""
    if weights == "none":
        return FROM_SCRATCH
    return LAST_BLOCKS if photos <= MOST_PHOTOS else GENTLE


def label_weights(class_weights: ClassWeights, counts: Mapping[str, int]) -> dict[str, float] | None:
    """What an image of each label counts, 1 on average where they are balanced; None when all count alike.

    Raises SettingError as `check_weights` does.
    """
    check_weights(class_weights, counts)
    if class_weights == "auto":
        class_weights = "balanced" if max(counts.values()) >= MUCH * min(counts.values()) else "none"
    if class_weights == "none":
        return None
    if class_weights == "balanced":
        share = sum(counts.values()) / len(counts)
        return {label: share / count for label, count in counts.items()}
    assert not isinstance(class_weights, str)
    return {label: class_weights.get(label, 1.0) for label in counts}


def check_weights(class_weights: ClassWeights, labels: Iterable[str] | None = None) -> None:
    """Raises SettingError for a weight out of range, and for one of a label that is not among `labels`, if given."""
    if isinstance(class_weights, str):
        return
    for label, weight in class_weights.items():
        CLASS_WEIGHT.check(weight, label)
    if labels is not None:
        check_names("class weight", class_weights, labels)


def with_changes(recipe: Recipe, schedule: Schedule | Sequence[float] | None, batch_size: int | None) -> Recipe:
    """The same with another schedule, or a rate for each epoch, and another size of minibatch, where they are given."""
    if schedule is not None:
        rates = schedule if isinstance(schedule, Schedule) else Stepwise(tuple(schedule))
        recipe = replace(recipe, schedule=rates)
    return recipe if batch_size is None else replace(recipe, batch_size=batch_size)


@dataclass(frozen=True)
class Changes:
    """What goes before a recipe; None leaves it as it is."""

    epochs: int | None = None
    learning_rates: tuple[float, ...] | None = None
    """One for each epoch."""
    batch_size: int | None = None
    weight_decay: float | None = None
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if self.learning_rates is not None and self.epochs is not None:
            raise SettingError("Give --epochs or --learning-rates, not both: the rates already say how many epochs.")

    def applied(self, recipe: Recipe) -> Recipe:
        """Raises SettingError for epochs of a recipe that has a rate for each."""
        schedule: Schedule | None = None if self.learning_rates is None else Stepwise(self.learning_rates)
        if self.epochs is not None:
            if not isinstance(recipe.schedule, Cosine):
                raise SettingError(
                    "This recipe has a learning rate for each epoch: give --learning-rates instead of --epochs."
                )
            schedule = replace(recipe.schedule, epochs=self.epochs)
        return replace(
            recipe,
            schedule=schedule or recipe.schedule,
            batch_size=recipe.batch_size if self.batch_size is None else self.batch_size,
            weight_decay=recipe.weight_decay if self.weight_decay is None else self.weight_decay,
            augmentation=self.augmentation or recipe.augmentation,
        )


NO_CHANGES = Changes()


def parse_class_weights(text: str) -> ClassWeights:
    """ "auto", "none", "balanced", or "cup=2,bowl=0.5". Raises SettingError for anything else."""
    if text in ("auto", "none", "balanced"):
        return cast(Literal["auto", "none", "balanced"], text)
    return parse_numbers(text, "class weights")


def parse_numbers(text: str, what: str) -> dict[str, float]:
    """A number for each of some labels: "cup=2,bowl=0.5". Raises SettingError for anything else."""
    numbers: dict[str, float] = {}
    for pair in text.split(","):
        name, equals, number = pair.rpartition("=")
        label = unicodedata.normalize("NFC", name.strip())
        if label in numbers:
            raise SettingError(f"'{label}' has two numbers in the {what}. Give it one.")
        try:
            numbers[label] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise SettingError(f"'{pair}' in the {what} is not LABEL=NUMBER, such as cup=2. Part several by commas.")
    return numbers
