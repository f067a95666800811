"""What all regressors share: real targets in fit, and predict."""

from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from sknn._fitting import all_or_nothing
from sknn._hyperparameters import is_stochastic
from sknn._links import LINKS
from sknn._losses import Loss, make_loss
from sknn._targets import RealTargets


class RegressorEstimatorMixin(RegressorMixin):
    """The regressor's half of an estimator that trains raw scores."""

    _regressor_constraints: dict[str, list[Any]] = {
        "loss": [StrOptions({"squared_error", "absolute_error", "huber", "poisson", "quantile"})],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    loss: str
    huber_delta: float
    quantile: float

    def _learn_targets(self, y: Any) -> RealTargets:
        self._check_counts(y)
        return RealTargets(1 if y.ndim == 1 else y.shape[1], "exp" if self.loss == "poisson" else "identity")

    def _check_targets(self, y: Any, targets: Any) -> None:
        n_columns = 1 if y.ndim == 1 else y.shape[1]
        if n_columns != targets.n_outputs:
            raise ValueError(f"y has {n_columns} column(s), but the estimator learned {targets.n_outputs}.")
        link = "exp" if self.loss == "poisson" else "identity"
        if link != targets.link:
            raise ValueError(
                f"Training can only go on with a loss of the same link: the estimator learned to predict the"
                f" {targets.link!r} of raw scores, and loss={self.loss!r} predicts their {link!r}."
            )
        self._check_counts(y)

    def _check_counts(self, y: Any) -> None:
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"loss='poisson' needs y >= 0, got a smallest value of {y.min():g}.")

    def _continue_targets(self, y: Any) -> RealTargets:
        self._check_targets(y, self._targets)
        return self._targets

    def _row_weights(self, y: Any, sample_weight: np.ndarray | None, targets: Any) -> np.ndarray | None:
        return sample_weight

    def _make_loss(self, targets: Any) -> Loss:
        parameter = {"huber": self.huber_delta, "quantile": self.quantile}.get(self.loss, 0.0)
        return make_loss(self.loss, targets.link, parameter)

    @available_if(is_stochastic)
    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch over X and y, going on from the weights and the solver's state of the last call.

        The schedules "cosine" and "onecycle" end after `max_iter` calls, when their rate is zero.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; a weight of zero is an absent row.

        Returns
        -------
        self : object
            The estimator. When the call raises, the estimator is as it was before.

        Raises
        ------
        ValueError
            If X, y or the weights are not valid, or with `early_stopping=True`.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions, in the dtype computed with.
        """
        raw = self._raw_scores(X)
        predicted = LINKS[self._targets.link](raw)
        return predicted.ravel() if predicted.shape[1] == 1 else predicted
