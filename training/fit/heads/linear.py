"""Linear classifiers on a net's features, by scikit-learn, as the weights of the net's last layer."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from salver.text import counted
from training.errors import SettingError
from training.ranges import SVM_C

DEFAULT_C = 1.0
"""Of the support vector machine."""
LOGISTIC_C = 10.0
"""With features scaled as below; a third and three times as much gave the same accuracy."""
MAX_ITERATIONS = 20_000
SHRINKAGE = 0.9
"""Of the covariance of linear discriminant analysis, towards one variance for all features."""

Kind = Literal["svm", "logistic", "lda"]


class Estimator(Protocol):
    """Any linear classifier of scikit-learn's form: `coef_` [classes, width] and `intercept_` [classes] once fitted,
    or one row for two classes."""

    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]

    def fit(self, X: ArrayLike, y: ArrayLike) -> object: ...  # noqa: N803  # scikit-learn's names


class Linear(NamedTuple):
    """weight [classes, width] and bias [classes], both float32."""

    weight: Tensor
    bias: Tensor


class Scaling(NamedTuple):
    """Moves and scales features to zero mean, equal deviations and a mean squared length of 1.

    Then `C` means the same for nets of every width, and the solvers need few iterations.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Scaling":
        """For features [images, width]. One that hardly varies is not blown up."""
        deviation = features.std(0, correction=0)
        deviation = deviation.clamp(min=max(1e-3 * float(deviation.mean()), 1e-12))
        return cls(features.mean(0), deviation * features.shape[1] ** 0.5)

    def apply(self, features: Tensor) -> NDArray[np.float32]:
        """Scaled features [images, width]."""
        scaled: NDArray[np.float32] = ((features - self.mean) / self.deviation).numpy()
        return scaled

    def folded(self, weight: Tensor, bias: Tensor) -> Linear:
        """The layer on unscaled features that answers as `weight` and `bias` do on scaled ones."""
        own = weight / self.deviation.double()
        return Linear(own.float(), (bias - own @ self.mean.double()).float())


def make_head(
    kind: Kind, weights: Mapping[int, float] | None, counts: Sequence[int], *, c: float = DEFAULT_C
) -> Estimator:
    """An estimator of that kind; `weights` are what a photo of each label counts, and `counts` how many there are."""
    shares = np.array([count * (weights[label] if weights else 1.0) for label, count in enumerate(counts)])
    made: dict[Kind, Estimator] = {
        "svm": svm(c, weights),
        "logistic": logistic_regression(weights),
        "lda": Discriminant(priors=shares / shares.sum()),
    }
    return made[kind]


class InSpan:
    """An estimator whose weights are a sum of the photos' features, so that what lies beside all of them plays no part:
    it is fitted in coordinates of their span, which for few photos are fewer, and to the same end.
    """

    coef_: NDArray[np.float64]

    def fit(self, features: ArrayLike, targets: ArrayLike, **rest: Any) -> Self:
        """Of features [images, width]."""
        given = np.asarray(features, np.float64)
        basis = _span(given)
        super().fit(given @ basis, targets, **rest)  # type: ignore[misc]  # of the estimator that this stands before
        self.coef_ = self.coef_ @ basis.T
        self.n_features_in_ = given.shape[1]
        return self


class SupportVectors(InSpan, LinearSVC):  # type: ignore[misc]  # scikit-learn has no types
    """A linear support vector machine."""


class Softmax(InSpan, LogisticRegression):  # type: ignore[misc]
    """Softmax regression."""


class Discriminant(LinearDiscriminantAnalysis):  # type: ignore[misc]
    """Linear discriminant analysis with a covariance that is shrunk by SHRINKAGE, also where photos are few."""

    def fit(self, features: ArrayLike, targets: ArrayLike) -> Self:
        """Of features [images, width], in coordinates of their span: beside it the shrunk variance is all there is."""
        given = np.asarray(features, np.float64)
        centre = given.mean(axis=0)
        basis = _span(given - centre)
        # The mean variance is taken over as many numbers as the span has; over `width` of them it is smaller.
        odds = SHRINKAGE / (1 - SHRINKAGE) * basis.shape[1] / given.shape[1]
        shrinkage = odds / (1 + odds)
        inner = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=self.priors)
        inner.fit((given - centre) @ basis, targets)
        self.classes_, self.priors_ = inner.classes_, inner.priors_
        scale = (1 - shrinkage) / (1 - SHRINKAGE)
        priors = np.log(self.priors_)
        priors = priors[1:] - priors[:1] if len(inner.coef_) == 1 else priors
        self.coef_ = inner.coef_ @ basis.T * scale
        self.intercept_ = (inner.intercept_ - priors) * scale + priors - self.coef_ @ centre
        self.n_features_in_ = given.shape[1]
        return self


def svm(c: float = DEFAULT_C, class_weight: Mapping[int, float] | str | None = None) -> LinearSVC:
    """A linear support vector machine, one label against the rest. Raises SettingError for a C out of range."""
    return SupportVectors(C=SVM_C.check(c), class_weight=class_weight, max_iter=MAX_ITERATIONS, random_state=0)


def logistic_regression(class_weight: Mapping[int, float] | str | None = None) -> LogisticRegression:
    """Softmax regression, what a last layer trained alone would come to."""
    return Softmax(C=LOGISTIC_C, class_weight=class_weight, max_iter=MAX_ITERATIONS)


def fit_linear(estimator: Estimator, features: Tensor, targets: Tensor, classes: int) -> Linear:
    """Fit on features [images, width] and targets [images]; an estimator's one row for two labels becomes two margins.

    Raises SettingError when a label has no images, or the estimator has no coefficients.
    """
    counts = torch.bincount(targets, minlength=classes)
    if not counts.all():
        raise SettingError(f"Label number {int(counts.argmin())} has no training images, so no classifier fits it.")
    scaling = Scaling.of(features)
    estimator.fit(scaling.apply(features), targets.numpy())
    weight, bias = _coefficients(estimator)
    if len(weight) == 1 and classes == 2:
        weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
    if weight.shape != (classes, features.shape[1]):
        raise SettingError(
            f"The estimator's coefficients have the shape {tuple(weight.shape)}; {counted(classes, 'label')} need "
            f"({classes}, {features.shape[1]}), one row a label."
        )
    return scaling.folded(weight, bias)


def put_layer(head: nn.Linear, layer: Linear) -> None:
    """The fitted layer's weights into the net's last layer."""
    with torch.no_grad():
        head.weight.copy_(layer.weight)
        head.bias.copy_(layer.bias)


def _span(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns [width, rank] whose sums `vectors` [images, width] are."""
    _, lengths, rows = np.linalg.svd(vectors, full_matrices=False)
    return rows[lengths > lengths[:1] * 1e-7].T


def _coefficients(estimator: Estimator) -> tuple[Tensor, Tensor]:
    try:
        weight, bias = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
    except AttributeError:
        raise SettingError(
            f"{type(estimator).__name__} has no coef_ and intercept_ after its fit: give a linear classifier, such as "
            "LinearSVC, LogisticRegression or RidgeClassifier."
        ) from None
    return torch.from_numpy(weight).double(), torch.from_numpy(np.broadcast_to(bias, len(weight)).copy()).double()
