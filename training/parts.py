"""The three parts of a data set that a run works with."""

from collections.abc import Sequence
from dataclasses import dataclass

from artifact.text import counted
from training.dataset import Dataset
from training.errors import DatasetError


@dataclass(frozen=True)
class Parts:
    """Choices are made on validation; test is looked at once, at the end.

    Raises DatasetError for a part without images, and a label without images to train on.
    """

    train: Dataset
    validation: Dataset
    test: Dataset

    def __post_init__(self) -> None:
        check_trainable(self.train, self.train.labels, self.validation, self.test)

    def counts(self) -> dict[str, dict[str, int]]:
        """For each part the number of images of each label."""
        return {"train": self.train.counts(), "validation": self.validation.counts(), "test": self.test.counts()}

    def remarks(self) -> list[str]:
        """What there is to say of them: labels that a part lacks, and pictures that two parts have."""
        lines = []
        for name, part in (("validation", self.validation), ("test", self.test)):
            absent = [f"'{label}'" for label, count in part.counts().items() if not count]
            if absent:
                lines.append(f"the {name} part has no images of {', '.join(absent)}")
        learned = {image.sha256: image.name for image in self.train.images}
        leaks = [
            f"{image.name} is {learned[image.sha256]}"
            for part in (self.validation, self.test)
            for image in part.images
            if image.sha256 in learned
        ]
        if leaks:
            more = ", …" if len(leaks) > 3 else ""
            lines.append(
                f"{counted(len(leaks), 'image')} of validation and test {'is' if len(leaks) == 1 else 'are'} among the "
                f"training images, too, so the figures are too good: {', '.join(leaks[:3])}{more}"
            )
        return lines


def check_trainable(train: Dataset, labels: Sequence[str], *others: Dataset | None) -> None:
    """Every label has images to train on, and no part is empty. Raises DatasetError."""
    for dataset in (train, *others):
        if dataset is not None and not len(dataset):
            name = f"The {dataset.part} part" if dataset.part else "A part of the data set"
            raise DatasetError(f"{name} has no images. Split the data set again, or add images to it.")
    present = {image.label for image in train.images}
    missing = [label for label in labels if label not in present]
    if missing:
        elsewhere = sum(image.label == missing[0] for other in others if other is not None for image in other.images)
        where = f"; {counted(elsewhere, 'image')} of it in other parts" if elsewhere else ""
        raise DatasetError(
            f"The label '{missing[0]}' has no training images{where}. A net cannot learn it: put images of it into the "
            "training part (salver split does so for every label), or remove the label."
        )
