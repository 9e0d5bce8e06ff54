import json
import warnings
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn
from sklearn.exceptions import UndefinedMetricWarning

from tests.training.evaluation.evaluations import from_logits, from_pairs, from_probabilities, random_evaluation
from training.evaluation.curves import POINTS, Ranking, label_curves
from training.evaluation.evaluate import Evaluation
from training.evaluation.intervals import bootstrap, wilson
from training.evaluation.metrics import compute_metrics, ranks
from training.evaluation.schema import Estimate

pytestmark = pytest.mark.torch

Floats = NDArray[np.float64]


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    """Of few images: labels that are absent, alone or never predicted, tied logits, rows that are not finite."""
    classes, images = draw(st.integers(2, 5)), draw(st.integers(1, 25))
    numbers = st.one_of(st.integers(-3, 3).map(float), st.just(float("nan")), st.just(float("inf")))
    finite = st.integers(-3, 3).map(float)
    row = st.lists(finite, min_size=classes, max_size=classes)
    odd = st.lists(numbers, min_size=classes, max_size=classes)
    logits = [draw(odd if draw(st.integers(0, 9)) == 0 else row) for _ in range(images)]
    truths = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    return from_logits(logits, truths)


def value(estimate: Estimate) -> float:
    """Not a number where there is none, and then there is a reason."""
    if estimate.value is None:
        assert estimate.reason
        return float("nan")
    if estimate.low is not None and estimate.high is not None:
        assert estimate.low <= estimate.value + 1e-9
        assert estimate.high >= estimate.value - 1e-9
    else:
        assert estimate.reason
    return estimate.value


def quiet(function: object, *arguments: object, **options: object) -> float:
    """scikit-learn's figure; it warns where one is undefined, and gives not a number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        assert callable(function)
        return float(function(*arguments, **options))


@settings(max_examples=25, deadline=None)
@given(evaluations())
def test_counted_figures_are_those_of_scikit_learn(evaluation: Evaluation) -> None:
    found = compute_metrics(evaluation)
    truths, predictions, labels = evaluation.truths, evaluation.predictions, range(len(evaluation.labels))
    assert value(found.accuracy) == pytest.approx(sklearn.accuracy_score(truths, predictions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a prediction that is no truth of this set
        averaged = sklearn.balanced_accuracy_score(truths, predictions)
    assert value(found.class_averaged_accuracy) == pytest.approx(averaged)
    wanted = sklearn.precision_recall_fscore_support(truths, predictions, labels=labels, zero_division=np.nan)
    for place, name in enumerate(("precision", "recall", "f1")):
        ours = [value(getattr(label, name)) for label in found.labels]
        np.testing.assert_allclose(ours, wanted[place])
    assert [label.support for label in found.labels] == wanted[3].tolist()
    occurring = sorted({*truths.tolist(), *predictions.tolist()} - {-1})
    macro = sklearn.f1_score(truths, predictions, labels=occurring, average="macro", zero_division=0)
    assert value(found.macro_f1) == pytest.approx(macro)
    matrix = sklearn.confusion_matrix(truths, predictions, labels=labels)
    assert np.array(found.confusion_matrix).tolist() == matrix.tolist()
    assert sum(map(sum, found.confusion_matrix)) + found.non_finite == found.images


@settings(max_examples=25, deadline=None)
@given(evaluations())
def test_curves_and_areas_are_those_of_scikit_learn(evaluation: Evaluation) -> None:
    labels, micro, macro = label_curves(evaluation)
    hot = np.eye(len(labels), dtype=int)[evaluation.truths]
    areas, precisions = [], []
    for index, curves in enumerate(labels):
        truth, scores = hot[:, index], evaluation.probabilities[:, index]
        area = quiet(sklearn.roc_auc_score, truth, scores) if 0 < truth.sum() < len(truth) else float("nan")
        average = quiet(sklearn.average_precision_score, truth, scores) if truth.any() else float("nan")
        np.testing.assert_allclose(value(curves.roc.area), area)
        np.testing.assert_allclose(value(curves.precision_recall.average_precision), average)
        if truth.any():
            precision, recall, _ = sklearn.precision_recall_curve(truth, scores)
            assert value(curves.precision_recall.area) == pytest.approx(sklearn.auc(recall, precision))
        areas.append(area)
        precisions.append(average)
    np.testing.assert_allclose(
        value(micro.roc.area), sklearn.roc_auc_score(hot.ravel(), evaluation.probabilities.ravel())
    )
    if np.isfinite(areas).any():
        assert value(macro.roc.area) == pytest.approx(np.nanmean(areas))
    assert value(macro.precision_recall.average_precision) == pytest.approx(np.nanmean(precisions))


@settings(max_examples=25, deadline=None)
@given(evaluations())
def test_the_area_under_roc_is_the_share_of_pairs_in_the_right_order(evaluation: Evaluation) -> None:
    images = np.arange(len(evaluation.truths))
    for index, label in enumerate(evaluation.labels):
        truths, scores = evaluation.truths == index, evaluation.probabilities[:, index]
        curves = Ranking(label, truths, scores, images).curves()
        inside, outside = scores[truths].tolist(), scores[~truths].tolist()
        pairs = [1.0 if one > other else 0.5 if one == other else 0.0 for one, other in product(inside, outside)]
        assert curves.roc.area.value == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


@settings(max_examples=25, deadline=None)
@given(evaluations())
def test_a_resample_has_the_areas_of_the_set_with_images_repeated(evaluation: Evaluation) -> None:
    weights = np.random.default_rng(len(evaluation.truths)).integers(0, 3, len(evaluation.truths))
    again = np.repeat(np.arange(len(weights)), weights)
    ranking = Ranking("one", evaluation.truths == 0, evaluation.probabilities[:, 0], np.arange(len(weights)))
    area, average, trapezoids = ranking.resampled(weights[None].astype(float))[0]
    truth, scores = ranking.positive[again], ranking.scores[again]
    if 0 < truth.sum() < len(truth):
        precision, recall, _ = sklearn.precision_recall_curve(truth, scores)
        assert area == pytest.approx(sklearn.roc_auc_score(truth, scores))
        assert average == pytest.approx(sklearn.average_precision_score(truth, scores))
        assert trapezoids == pytest.approx(sklearn.auc(recall, precision))


def test_the_best_k_are_those_of_scikit_learn_and_of_equal_scores_the_first_is_the_better() -> None:
    evaluation = random_evaluation(100, 8, strength=1.0)
    found = compute_metrics(evaluation).top_k
    for top in found:
        wanted = sklearn.top_k_accuracy_score(evaluation.truths, evaluation.logits, k=top.k, labels=range(8))
        assert top.accuracy.value == pytest.approx(wanted)
    assert [top.k for top in found] == [3, 5]
    tied = from_logits(np.zeros((4, 4)), [0, 1, 2, 3])
    assert ranks(tied).tolist() == [0, 1, 2, 3]
    assert compute_metrics(tied).accuracy.value == 0.25
    assert compute_metrics(tied).top_k[0].accuracy.value == 0.75


def test_ev01_the_2018_example_is_9091_overall_and_7500_class_averaged_each_under_its_name() -> None:
    matrix = ((0, 1, 0, 1), (0, 7, 0, 0), (0, 0, 2, 0), (0, 0, 0, 11))
    pairs = [
        (truth, predicted) for truth in range(4) for predicted in range(4) for _ in range(matrix[truth][predicted])
    ]
    found = compute_metrics(from_pairs([truth for truth, _ in pairs], [predicted for _, predicted in pairs], 4))
    assert found.accuracy.value == pytest.approx(20 / 22)
    assert found.class_averaged_accuracy.value == 0.75
    assert found.confusion_matrix == matrix
    assert found.confusion_matrix_by_truth[0] == (0, 0.5, 0, 0.5)
    assert found.accuracy.low == pytest.approx(0.7218, abs=1e-4)
    assert found.accuracy.high == pytest.approx(0.9747, abs=1e-4)


@pytest.mark.parametrize("declared", [3, 8])
def test_ev02_labels_that_only_were_declared_change_no_average(declared: int) -> None:
    absent = compute_metrics(from_pairs([1, 1], [1, 2], declared))
    assert absent.class_averaged_accuracy.value == 0.5
    assert absent.absent_labels == tuple(f"label {index}" for index in range(declared) if index != 1)
    assert absent.labels[0].recall == Estimate(value=None, reason="no image of the set has the label 'label 0'")
    assert absent.confusion_matrix_by_truth[0] is None
    found = compute_metrics(from_pairs([2, 1, 0, 0], [2, 1, 0, 1], declared))
    assert found.macro_f1.value == pytest.approx(0.7778, abs=1e-4)


def test_ev04_of_two_labels_each_has_its_area_and_its_name() -> None:
    found = compute_metrics(from_probabilities([[0.3, 0.7], [0.8, 0.2], [0.6, 0.4]], [0, 1, 0]))
    assert [(label.label, label.curves.roc.area.value) for label in found.labels] == [("label 0", 0), ("label 1", 0)]


def test_ev05_labels_that_the_test_set_lacks_have_no_area_and_say_why() -> None:
    found = compute_metrics(from_probabilities([[0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], [1, 2]))
    assert [label.curves.roc.area.value for label in found.labels] == [None, 1, 1]
    assert found.labels[0].curves.roc.area.reason == "no image of the set has the label 'label 0'"
    assert found.macro.roc.area.value == 1
    alone = compute_metrics(from_probabilities([[0.2, 0.5, 0.3], [0.1, 0.3, 0.6]], [1, 1]))
    assert [label.curves.roc.area.value for label in alone.labels] == [None] * 3
    assert alone.labels[1].curves.roc.area.reason == "every image of the set has the label 'label 1'"
    assert alone.labels[1].curves.precision_recall.average_precision.value == 1
    assert alone.macro.roc.area == Estimate(value=None, reason="there is no label for which it is defined")
    for document in (found, alone):
        json.loads(document.model_dump_json(), parse_constant=pytest.fail)  # NaN is no JSON


def test_ev07_images_without_finite_scores_are_counted_as_wrong_and_never_as_the_first_label() -> None:
    evaluation = from_pairs([0] * 10, [0] * 10, 2)
    evaluation.logits[:3] = np.nan
    found = compute_metrics(evaluation)
    assert found.non_finite == 3
    assert found.accuracy.value == found.class_averaged_accuracy.value == found.labels[0].recall.value == 0.7
    assert found.labels[0].predicted == 7
    assert sum(each.images for each in found.calibration.bins_before) == 7
    assert found.coverage.coverage[0] == 0.7
    nothing = from_pairs([0, 1], [0, 1], 2)
    nothing.logits[:] = np.nan
    empty = compute_metrics(nothing)
    assert empty.accuracy.value == 0
    assert empty.calibration.error_before == Estimate(value=None, reason="no image has an answer")
    json.loads(empty.model_dump_json(), parse_constant=pytest.fail)


def test_a_set_that_is_all_right_has_wilsons_intervals_and_none_from_resamples_that_all_agree() -> None:
    found = compute_metrics(from_pairs([0, 1] * 10, [0, 1] * 10, 2))
    assert found.accuracy.low == pytest.approx(0.8389, abs=1e-4)
    assert found.class_averaged_accuracy.value == 1
    assert found.class_averaged_accuracy.low == pytest.approx(1 - 2**0.5 * (1 - wilson(10, 10)[0]) / 2)
    assert found.macro_f1.low is None
    assert "same figure" in (found.macro_f1.reason or "")


def test_a_label_that_is_all_wrong_leaves_the_class_average_an_interval_on_both_sides() -> None:
    found = compute_metrics(from_pairs([0] * 5 + [1] * 2, [0] * 7, 2)).class_averaged_accuracy
    assert found.value == 0.5
    assert found.low == pytest.approx(0.2828, abs=1e-4)
    assert found.high == pytest.approx(0.8288, abs=1e-4)


def test_a_labels_scores_are_added_up_beside_the_number_of_its_images() -> None:
    found = compute_metrics(from_probabilities([[0.3, 0.7], [0.8, 0.2], [0.6, 0.4]], [0, 1, 0]))
    assert [row.support for row in found.labels] == [2, 1]
    assert [row.score_sum for row in found.labels] == pytest.approx([1.7, 1.3])


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Sets are drawn from scores whose area under ROC is known; 51 or fewer of 60 are expected once in 100 times."""
    random, holds = np.random.default_rng(5), 0
    truth = 0.9213504  # of two normal distributions two standard deviations apart: Φ(2 / √2)
    for _ in range(60):
        positive = random.permutation(np.repeat([False, True], 40))
        ranking = Ranking("one", positive, random.normal(size=80) + 2 * positive, np.arange(80))
        (area,) = bootstrap([ranking.curves().roc.area], partial(_first_area, ranking), 80)
        assert area.low is not None
        assert area.high is not None
        holds += area.low <= truth <= area.high
    assert holds >= 52


def _first_area(ranking: Ranking, weights: Floats) -> Floats:
    return ranking.resampled(weights)[:, :1]


def test_areas_of_a_large_set_have_no_interval_and_say_why() -> None:
    area = label_curves(random_evaluation(2001, 10))[2].roc.area
    assert area.value is not None
    assert (area.low, area.reason) == (None, "there are more than 20,000 scores, so the interval was left out")


def test_a_curve_is_cut_to_a_number_of_points_and_keeps_its_ends() -> None:
    labels, _, macro = label_curves(random_evaluation(900, 3, strength=0.5))
    roc, falls = labels[0].roc, labels[0].precision_recall
    assert POINTS // 2 < len(roc.false_positive_rate) <= POINTS
    assert (roc.false_positive_rate[0], roc.true_positive_rate[-1]) == (0, 1)
    assert (falls.recall[0], falls.recall[-1], falls.precision[0]) == (0, 1, 1)
    assert macro.roc.true_positive_rate[-1] == 1
    assert np.trapezoid(macro.roc.true_positive_rate, macro.roc.false_positive_rate) == pytest.approx(
        macro.roc.area.value, abs=0.01
    )


def test_forty_of_forty_by_folds_are_less_sure_than_forty_by_one_net_and_never_certain() -> None:
    """N3-28: also by label and for the class average."""
    alone = from_pairs([0, 1] * 20, [0, 1] * 20, 2)
    found = compute_metrics(replace(alone, folds=5))
    assert found.accuracy.low == pytest.approx(0.8668, abs=1e-4)
    one = compute_metrics(alone)
    for ours, theirs in (
        (found.accuracy, one.accuracy),
        (found.class_averaged_accuracy, one.class_averaged_accuracy),
        (found.labels[0].recall, one.labels[0].recall),
        (found.labels[1].precision, one.labels[1].precision),
    ):
        assert ours.value == ours.high == 1
        assert (ours.low or 1) < (theirs.low or 0) < 1
