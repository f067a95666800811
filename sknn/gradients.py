"""Check the gradients that training follows against central differences."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils import check_random_state
from torch import nn

from sknn._devices import plain_modes
from sknn._fitting import make_step
from sknn.base import BaseTorchEstimator
from sknn.modules import Dropout


@dataclass(frozen=True)
class GradientCheck:
    """Derivatives of some parameters by backpropagation and by central differences.

    Parameters
    ----------
    names : tuple of str
        Name of the module's tensor that each checked parameter belongs to.
    analytic : ndarray of shape (n_parameters,)
        Derivatives of the training objective by backpropagation, float64.
    numerical : ndarray of shape (n_parameters,)
        The same derivatives by central differences, float64.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn import GradientCheck
    >>> GradientCheck(("weight",), np.array([1.0]), np.array([1.5])).max_absolute_error
    0.5
    """

    names: tuple[str, ...]
    analytic: np.ndarray
    numerical: np.ndarray

    @property
    def max_absolute_error(self) -> float:
        """Largest absolute difference between the two."""
        return float(np.abs(self.analytic - self.numerical).max())

    @property
    def max_relative_error(self) -> float:
        """Largest absolute difference over the sum of both gradients' norms."""
        scale = np.linalg.norm(self.analytic) + np.linalg.norm(self.numerical)
        return self.max_absolute_error / float(scale) if scale else 0.0


def check_gradients(
    estimator: BaseTorchEstimator,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    h: float = 1e-4,
    max_parameters: int = 200,
    random_state: Any = 0,
) -> GradientCheck:
    """Compare an estimator's gradients with central differences, in float64 on the CPU.

    The objective is the one that `fit` minimises over all rows in one batch: loss, weights, class weights and
    penalty, with dropout off; of an ensemble, that of its first member. It is taken at the fitted weights, or at the
    initial ones of an unfitted estimator; the estimator itself stays as it is.

    Parameters
    ----------
    estimator : estimator of sknn
        Whose module, loss and penalty to check.
    X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
        The rows; a few are enough.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.
    h : float, default=0.0001
        Half the distance between the two points of a difference.
    max_parameters : int, default=200
        Number of parameters to check at most, drawn at random from all.
    random_state : int, RandomState instance or None, default=0
        Source of that draw.

    Returns
    -------
    GradientCheck
        Both gradients and their largest differences. About 1e-8 is right for smooth activations; a unit that
        changes sides between the two points, as one of "relu" may, makes a larger one.

    Raises
    ------
    ValueError
        If `max_parameters` is below 1 or `h` not above 0, or where `fit` would raise it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPTorchClassifier, check_gradients
    >>> X, y = load_iris(return_X_y=True)
    >>> check = check_gradients(MLPTorchClassifier((5,), "tanh", random_state=0), X[::10], y[::10])
    >>> check.max_absolute_error < 1e-6
    True
    """
    if max_parameters < 1:
        raise ValueError(f"max_parameters must be at least 1, got {max_parameters}.")
    if not 0 < h < np.inf:
        raise ValueError(f"h must be above 0 and finite, got {h}.")
    with plain_modes():
        return _check(estimator, X, y, sample_weight, h, max_parameters, check_random_state(random_state))


def _check(
    estimator: BaseTorchEstimator,
    X: Any,
    y: Any,
    sample_weight: Any,
    h: float,
    max_parameters: int,
    rng: np.random.RandomState,
) -> GradientCheck:
    step, batch = _one_batch(estimator, X, y, sample_weight)
    step(*batch)
    parameters, names = step.parameters.data[0], step.parameters.names()
    count = min(max_parameters, len(names))
    chosen = np.sort(rng.choice(len(names), count, replace=False))
    analytic = step.parameters.grad[0].numpy()[chosen]
    numerical = np.empty(count)
    for i, place in enumerate(chosen):
        value = parameters[place].item()
        losses = []
        for shifted in (value + h, value - h):
            parameters[place] = shifted
            losses.append(step(*batch).item())
        parameters[place] = value
        numerical[i] = (losses[0] - losses[1]) / (2 * h)
    return GradientCheck(tuple(names[place] for place in chosen), analytic, numerical)


def _one_batch(estimator: BaseTorchEstimator, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return the step of an estimator in float64, and all rows as one batch of one model."""
    twin = clone(estimator)
    twin.set_params(dtype="float64", device="cpu", early_stopping=False, batch_size="auto")
    twin._validate_params()
    fitted = hasattr(estimator, "module_")
    if fitted:
        parameters = twin.get_params(deep=False)
        twin.__dict__.update({name: value for name, value in vars(estimator).items() if name not in parameters})
    targets = estimator._targets if fitted else None
    fit = twin._prepare(X, y, sample_weight, (None, None, None), first=not fitted, targets=targets)
    fit = fit._replace(module=fit.networks[0])
    for part in fit.module.modules():
        if isinstance(part, (Dropout, nn.modules.dropout._DropoutNd)):
            part.p = 0.0
    step = make_step([fit])
    return step, step.prepared(*fit.samples.batch(torch.from_numpy(fit.training.rows)[None]))
