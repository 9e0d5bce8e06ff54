"""What `salver train` was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from salver.artifact.manifest import OUTPUT_NAMES, OutputName
from training.dataset.check import OnBad
from training.dataset.split.groups import check_group_by
from training.fit.device import Device, MixedPrecision
from training.fit.heads.linear import DEFAULT_C, Kind
from training.fit.recipe.recipe import NO_CHANGES, Changes, ClassWeights, Recipe
from training.nets.nets import Resize
from training.ranges import check_outputs
from training.run.place import check_numbers


@dataclass(frozen=True)
class RunSettings:
    """What `salver train` was asked for; `test_size` and `val_size` are shares of the whole data set."""

    data: Path
    out: Path
    base: str
    weights: str
    image_size: tuple[int, int]
    resize: Resize | Literal["auto"] = "auto"
    head: Literal["softmax"] | Kind = "softmax"
    svm_c: float = DEFAULT_C
    recipe: Recipe | None = None
    """None takes the default for weights and number of photos."""
    changes: Changes = NO_CHANGES
    """To the recipe."""
    class_weights: ClassWeights = "auto"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    outputs: tuple[OutputName, ...] = OUTPUT_NAMES
    """What the model file is to answer, where the net can."""
    max_false_alarms: float = 0.05
    """The share of photos like the training photos that may be called foreign."""
    fingerprints: bool = True
    """Whether the model file keeps those of its photos."""
    seed: int = 0
    test_size: float = 0.33
    val_size: float | None = None
    """None takes a tenth for a recipe without folds and nothing for one with folds."""
    device: Device = "auto"
    mixed_precision: MixedPrecision = "auto"
    compiled: bool = False
    tensorboard: Path | None = None
    overwrite: bool = False
    resume: bool = False
    on_bad: OnBad = "error"
    """What happens to images that cannot be read."""
    split_file: Path | None = None
    """As `salver split` writes it; it stands in for the two shares."""
    group_by: str | None = None
    """A regular expression over the photos' names; those of a group stay in one part and in one fold."""

    def __post_init__(self) -> None:
        """Raises SettingError for a number or a name that cannot be meant."""
        check_numbers(
            image_size=self.image_size,
            seed=self.seed,
            svm_c=self.svm_c,
            class_weights=self.class_weights,
            thresholds=self.thresholds,
            max_false_alarms=self.max_false_alarms,
            test_size=self.test_size,
            val_size=self.val_size,
        )
        check_outputs(self.outputs)
        if self.group_by is not None:
            check_group_by(self.group_by)
