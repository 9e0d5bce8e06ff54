import numpy as np
import pytest
import torch
from torch import Tensor

from training.evaluation.intervals import by_folds
from training.fit.heads.choice import Judged, choose
from training.fit.heads.linear import Discriminant, fit_linear, svm
from training.fit.heads.out_of_fold import OutOfFold, out_of_fold, out_of_two_folds

pytestmark = pytest.mark.torch

WIDTH = 40


def photos(count: int, classes: int = 2, seed: int = 0, apart: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % classes
    return torch.randn((count, WIDTH), generator=generator) + apart * torch.eye(classes, WIDTH)[targets], targets


def five_folds(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count) % 5


def test_each_photo_is_judged_by_the_other_folds_alone() -> None:
    features, targets = photos(60, 3)
    folds = five_folds(60)
    found = out_of_fold(svm(), features, targets, 3, folds)
    held = torch.from_numpy(folds == 2)
    layer = fit_linear(svm(), features[~held], targets[~held], 3)
    np.testing.assert_allclose(found.logits[folds == 2], features[held] @ layer.weight.T + layer.bias, atol=1e-5)
    assert found.judged.all()


def test_a_photo_that_is_always_learnt_has_no_answer_and_its_label_a_column_in_every_fold() -> None:
    """Labels of 40, 40 and 1 photos (N3-23)."""
    features, targets = photos(81)
    targets[80] = 2
    folds = five_folds(81)
    folds[80] = -1
    found = out_of_fold(svm(), features, targets, 3, folds)
    assert np.isnan(found.logits[80]).all()
    assert np.isfinite(found.logits[:80]).all()
    assert found.judged.sum() == 80
    assert (found.logits[:80].argmax(1) == found.truths[:80]).mean() > 0.9


def test_the_better_way_is_chosen() -> None:
    features, targets = photos(100)
    folds = five_folds(100)
    good = out_of_fold(svm(), features, targets, 2, folds)
    poor = out_of_fold(svm(), torch.randn(features.shape), targets, 2, folds)
    choice = choose([poor, good])
    assert (choice.number, choice.by_fold) == (1, (1,) * 5)
    np.testing.assert_array_equal(choice.applied([poor, good]).logits, good.logits)
    assert choose([good, good]).number == 0


def test_of_nothing_that_was_judged_the_first_is_taken() -> None:
    nothing = OutOfFold(np.full((3, 2), np.nan, np.float32), np.array([0, 1, 1]), np.full(3, -1))
    assert choose([nothing, nothing]) == (0, ())


def test_with_shuffled_labels_the_figure_is_chance_though_the_better_of_two_ways_was_taken() -> None:
    """Row N3-29: 40 photos of two labels at random, 200 seeds; chosen on the photos it would be flattered."""
    accuracies, flattered = [], []
    for seed in range(200):
        random = np.random.default_rng(seed)
        targets = torch.from_numpy(random.permutation(40) % 2)
        ways = [
            out_of_fold(Discriminant(), torch.from_numpy(random.normal(size=(40, 8))).float(), targets, 2, folds)
            for folds in [random.permutation(40) % 5]
            for _ in range(2)
        ]
        choice = choose(ways)
        found = choice.applied(ways)
        accuracies.append((found.logits.argmax(1) == found.truths).mean())
        flattered.append((ways[choice.number].logits.argmax(1) == found.truths).mean())
    assert abs(np.mean(accuracies) - 0.5) < 0.02
    assert np.mean(flattered) - np.mean(accuracies) > 0.01


@pytest.mark.parametrize("classes", [2, 4])
def test_discriminant_analysis_in_the_span_is_that_of_all_features(classes: int) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features, targets = photos(30, classes)
    targets[-1] = targets[0]  # unequal counts: priors play a part
    whole = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.9).fit(features.double().numpy(), targets.numpy())
    found = Discriminant().fit(features.numpy(), targets.numpy())
    tested = photos(20, classes, seed=1)[0].double().numpy()
    wanted, given = whole.decision_function(tested), tested @ found.coef_.T + found.intercept_
    if classes == 2:
        np.testing.assert_allclose(given[:, 0], wanted, rtol=1e-6)
    else:
        np.testing.assert_allclose(given - given[:, :1], wanted - wanted[:, :1], rtol=1e-6, atol=1e-6)


def test_what_a_fold_chooses_by_has_not_learnt_it() -> None:
    features, targets = photos(60)
    folds = five_folds(60)
    found = out_of_two_folds(svm(), features, targets, 2, folds)
    learnt = torch.from_numpy((folds != 2) & (folds != 4))
    layer = fit_linear(svm(), features[learnt], targets[learnt], 2)
    np.testing.assert_allclose(found[4][folds == 2], features[folds == 2] @ layer.weight.T + layer.bias, atol=1e-5)
    np.testing.assert_allclose(found[2][folds == 4], features[folds == 4] @ layer.weight.T + layer.bias, atol=1e-5)
    assert np.isnan(found[2][folds == 2]).all()


def test_two_folds_with_all_photos_of_a_label_leave_the_choice_to_the_ways_own_answers() -> None:
    features, targets = photos(40)
    folds = five_folds(40)
    targets[:] = 0
    targets[np.flatnonzero(folds == 0)[0]] = targets[np.flatnonzero(folds == 1)[0]] = 1
    others = out_of_two_folds(svm(), features, targets, 2, folds)
    assert np.isnan(others[0][folds == 1]).all()
    assert np.isfinite(others[0][folds == 2]).all()
    way = out_of_fold(svm(), features, targets, 2, folds)
    assert choose([way, way], [others, others]) == (0, (0,) * 5)


@pytest.mark.soak
def test_of_shuffled_labels_the_printed_accuracy_is_chance_with_the_choice_in_the_loop() -> None:
    """N3-29: 40 photos of 2 labels, in two resizes whose features differ as those of one photo do."""
    random, rights = np.random.default_rng(2), []
    targets = torch.arange(40) % 2
    folds = np.repeat(np.arange(5), 8)  # four of each label
    for _ in range(1000):
        photo = random.normal(size=(40, 64))
        ways = [torch.from_numpy(photo + 0.5 * random.normal(size=photo.shape)).float() for _ in range(2)]
        fits = [(svm(), way, targets, 2, folds) for way in ways]
        _, found = Judged.of([out_of_fold(*fit) for fit in fits], [out_of_two_folds(*fit) for fit in fits])
        rights.append(int((found.figure.logits.argmax(1) == found.figure.truths).sum()))
    holds = [low <= 0.5 <= high for low, high in (by_folds(right, 40, 5) for right in rights)]
    assert abs(np.mean(rights) / 40 - 0.5) < 0.01
    assert 0.93 <= np.mean(holds) <= 0.97
