import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from training.errors import SettingError
from training.fit.heads.linear import Scaling, fit_linear, logistic_regression, svm

pytestmark = pytest.mark.torch


def clouds(classes: int, width: int = 6, count: int = 20, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points around one corner for each class, far from the origin and of unlike widths, as features are."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(classes).repeat_interleave(count)
    corners = torch.eye(classes, width) * 4
    noise = torch.randn((len(targets), width), generator=generator)
    return (corners[targets] + noise) * torch.logspace(-2, 1, width) + 50, targets


@pytest.mark.parametrize("estimator", [svm(), logistic_regression(), RidgeClassifier(), LogisticRegression()])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_layer_on_raw_features_answers_as_the_estimator_on_scaled_ones(estimator: LinearSVC, classes: int) -> None:
    features, targets = clouds(classes)
    layer = fit_linear(estimator, features, targets, classes)
    logits = features @ layer.weight.T + layer.bias
    scores = estimator.decision_function(Scaling.of(features).apply(features))
    assert layer.weight.shape == (classes, 6)
    if classes == 2:
        np.testing.assert_allclose(logits[:, 1] - logits[:, 0], 2 * scores, atol=2e-3)
        np.testing.assert_allclose(logits[:, 1], -logits[:, 0], atol=2e-3)
    else:
        np.testing.assert_allclose(logits, scores, atol=2e-3)
    assert float((logits.argmax(1) == targets).float().mean()) > 0.8


def test_a_classifier_without_coefficients_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match="KNeighborsClassifier has no coef_"):
        fit_linear(KNeighborsClassifier(), *clouds(3), 3)


def test_a_label_without_images_is_refused() -> None:
    features, targets = clouds(3)
    with pytest.raises(SettingError, match="Label number 3 has no training images"):
        fit_linear(svm(), features, targets, 4)


def test_a_feature_that_never_varies_does_no_harm() -> None:
    features, targets = clouds(3)
    features[:, 2] = 7.0
    layer = fit_linear(svm(), features, targets, 3)
    assert torch.isfinite(layer.weight).all()
    assert torch.isfinite(layer.bias).all()


@given(shift=st.floats(-100, 100), factor=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_units_of_the_features_play_no_part(shift: float, factor: float) -> None:
    features, targets = clouds(3, count=8)
    moved = features * factor + shift
    plain, other = fit_linear(svm(), features, targets, 3), fit_linear(svm(), moved, targets, 3)
    assert torch.equal(
        (features @ plain.weight.T + plain.bias).argmax(1), (moved @ other.weight.T + other.bias).argmax(1)
    )
