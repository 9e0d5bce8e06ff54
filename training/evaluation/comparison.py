"""Two models on the same images: is the new one better, or is that chance?"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from training.errors import SettingError
from training.evaluation.intervals import mean_of, proportion, wilson
from training.evaluation.metrics import model_facts
from training.evaluation.predictions import NO_ANSWER, Predictions
from training.evaluation.schema import Comparison, Estimate, LabelChange


def compare(new: Predictions, old: Predictions) -> Comparison:
    """The labels of the two may differ in order and in number. Raises SettingError for evaluations of other images."""
    if [image.name for image in new.images] != [image.name for image in old.images] or len(new.truths) != len(
        old.truths
    ):
        raise SettingError("The two evaluations are of different images. Score the same data set with both models.")
    only_new, only_old = int((new.right & ~old.right).sum()), int((old.right & ~new.right).sum())
    differing = only_new + only_old
    return Comparison(
        old=model_facts(old),
        old_accuracy=proportion(int(old.right.sum()), len(old.truths), ""),
        old_class_averaged_accuracy=old.class_averaged_accuracy,
        difference=difference(new.right, old.right),
        class_averaged_difference=_class_averaged_difference(new, old),
        only_new_right=only_new,
        only_old_right=only_old,
        p_value=float(binomtest(only_new, differing).pvalue) if differing else 1.0,
        changed=int(changed(new, old).sum()),
        labels=_label_changes(new, old),
    )


def changed(new: Predictions, old: Predictions) -> NDArray[np.bool_]:
    """[images]: whether the answer, a label or none, is another one."""
    return np.not_equal(answers(new), answers(old))


def answers(evaluation: Predictions) -> list[str]:
    """The label that each image gets; empty for an image without an answer. A label itself is never empty."""
    names = (*evaluation.labels, "")  # NO_ANSWER is the last
    assert NO_ANSWER == -1
    return [names[index] for index in evaluation.predictions.tolist()]


def difference(new: NDArray[np.bool_], old: NDArray[np.bool_]) -> Estimate:
    """New less old share of right images, with Newcombe's interval for pairs ("Improved confidence intervals for the
    difference between binomial proportions based on paired data", 1998, method 10), which holds for small sets.
    """
    images, both = len(new), int((new & old).sum())
    new_share, old_share = float(new.mean()), float(old.mean())
    (new_low, new_high), (old_low, old_high) = (wilson(int(right.sum()), images) for right in (new, old))
    phi = _correlation(both, int((new & ~old).sum()), int((old & ~new).sum()), images)
    down, up = (new_share - new_low, old_high - old_share), (new_high - new_share, old_share - old_low)
    return Estimate(
        value=new_share - old_share,
        low=new_share - old_share - _joined(*down, phi),
        high=new_share - old_share + _joined(*up, phi),
    )


def _correlation(both: int, only_new: int, only_old: int, images: int) -> float:
    """Of being right, with Newcombe's correction for continuity; 0 where one of the models is always or never right."""
    neither = images - both - only_new - only_old
    margins = (both + only_new) * (only_old + neither) * (both + only_old) * (only_new + neither)
    if not margins:
        return 0.0
    product = both * neither - only_new * only_old
    return (max(product - images / 2, 0) if product > 0 else product) / math.sqrt(margins)


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0))


def _class_averaged_difference(new: Predictions, old: Predictions) -> Estimate:
    """The mean of the labels' differences, with the interval that theirs make."""
    of_label = [new.truths == label for label in np.unique(new.truths)]
    return mean_of([difference(new.right[chosen], old.right[chosen]) for chosen in of_label])


def _label_changes(new: Predictions, old: Predictions) -> tuple[LabelChange, ...]:
    truths = np.array([new.labels[truth] for truth in new.truths])
    changes = []
    for label in new.labels:
        of_label = truths == label
        before, after = (float(right[of_label].mean()) if of_label.any() else None for right in (old.right, new.right))
        changes.append(LabelChange(label=label, old=before, new=after))
    return tuple(changes)
