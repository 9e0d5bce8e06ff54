"""The probability of each given label by what the other folds teach, on made-up features."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from training.evaluation.limits.label_errors import MARGIN, SHRINKAGE, Ranking, out_of_fold

Features = NDArray[np.float32]
Numbers = NDArray[np.int64]


def made(photos: int, width: int, labels: int = 3, seed: int = 0) -> tuple[Features, Numbers, Numbers]:
    """Features of labels that are apart, the labels, and three rounds of five folds."""
    random = np.random.default_rng(seed)
    targets = np.arange(photos) % labels
    features = random.normal(size=(photos, width)) + 1.5 * random.normal(size=(labels, width))[targets]
    folds = np.stack([random.permutation(photos) % 5 for _ in range(3)])
    return features.astype(np.float32), targets, folds


@pytest.mark.parametrize(("photos", "width"), [(60, 200), (300, 20), (9000, 8)])
@pytest.mark.parametrize("labels", [2, 4])
def test_it_is_what_scikit_learn_gives(photos: int, width: int, labels: int) -> None:
    features, targets, folds = made(photos, width, labels)
    folds[:, :4] = -1
    unit = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float64)
    wanted = np.zeros((photos, labels))
    for numbers in folds:
        for number in range(5):
            held = numbers == number
            fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE).fit(unit[~held], targets[~held])
            wanted[held] += fitted.predict_proba(unit[held]) / len(folds)
    found = out_of_fold(features, targets, folds, labels)
    assert np.isnan(found[:4]).all()
    assert np.allclose(found[4:], wanted[4:], atol=1e-4)


def test_planted_labels_stand_first_with_the_right_suggestion() -> None:
    features, targets, folds = made(120, 64)
    wrong = np.array([3, 40, 77, 101])
    given = targets.copy()
    given[wrong] = (targets[wrong] + 1) % 3
    found = Ranking.of(out_of_fold(features, given, folds, 3), given)
    assert set(found.order[:4]) == set(wrong) == set(found.doubtful)
    assert (found.other[wrong] == targets[wrong]).all()
    assert (np.diff(found.given[found.order]) >= 0).all()
    assert (found.others - found.given)[found.doubtful].min() > MARGIN


@pytest.mark.parametrize("rare", [1, 3])
def test_a_label_with_one_photo_or_three_leaves_the_figures_of_the_others_whole(rare: int) -> None:
    """The columns go by the label, also in a fold that has none of it, and nothing is zero or missing for it."""
    features, _, _ = made(80 + rare, 64)
    targets = np.array([0] * 40 + [1] * 40 + [2] * rare)
    folds = np.stack([np.random.default_rng(seed).permutation(len(targets)) % 5 for seed in range(3)])
    folds[:, 80:] = -1 if rare == 1 else [0, 1, 2]
    found = out_of_fold(features, targets, folds, 3)
    assert np.isfinite(found[:80]).all()
    assert np.allclose(found[:80].sum(axis=1), 1)
    assert (found[:80] > 0).all()
    assert np.isfinite(found[80:]).all() == (rare == 3)
    assert len(Ranking.of(found, targets).order) == (80 if rare == 1 else 83)


def test_a_photo_whose_label_the_other_folds_lack_is_not_judged_in_that_round() -> None:
    features, targets, folds = made(60, 16)
    rare = np.flatnonzero(targets == 2)
    folds[0, rare] = 0
    once = out_of_fold(features, targets, folds, 3)
    assert np.allclose(once[rare], out_of_fold(features, targets, folds[1:], 3)[rare])
    folds[:, rare] = 0
    never = out_of_fold(features, targets, folds, 3)
    assert np.isnan(never[rare]).all()
    assert np.isfinite(never[targets != 2]).all()


def test_vectors_that_say_nothing_are_not_judged_and_teach_nothing() -> None:
    features, targets, folds = made(60, 16)
    wanted = out_of_fold(features[3:], targets[3:], folds[:, 3:], 3)
    features[:3] = np.array([[0.0], [np.nan], [np.inf]])
    found = out_of_fold(features, targets, folds, 3)
    assert np.isnan(found[:3]).all()
    assert np.allclose(found[3:], wanted)
    assert np.allclose(out_of_fold(features[3:] * np.float32(1e30), targets[3:], folds[:, 3:], 3), wanted, atol=1e-5)
    assert not {0, 1, 2} & set(Ranking.of(found, targets).order)


def test_photos_of_a_label_that_are_all_alike_are_told_apart_without_a_spread() -> None:
    targets = np.arange(40) % 2
    features = np.eye(8, dtype=np.float32)[targets]
    folds = np.stack([np.arange(40) // 2 % 5] * 3)
    found = out_of_fold(features, targets, folds, 2)
    assert np.allclose(found[np.arange(40), targets], 1)


def test_where_no_photo_can_be_judged_nothing_is_said() -> None:
    features, targets, folds = made(12, 16)
    found = Ranking.of(out_of_fold(features, targets, np.full_like(folds, -1), 3), targets)
    assert not len(found.order)
    assert not len(found.doubtful)
