"""The three parts of a data set that a run works with."""

from dataclasses import dataclass

from salver.text import counted
from training.dataset.dataset import Dataset, check_trainable


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
