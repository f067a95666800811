"""The parameters that all estimators share: their types, their ranges, and what they come to in one fit."""

import functools
import math
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions
from torch import nn

from sknn._devices import DTYPES
from sknn._learner import Recipe
from sknn._solvers import SCHEDULES, SOLVERS, SolverOptions


def is_stochastic(estimator: Any) -> bool:
    """Return True, or raise why the solver has no `partial_fit`."""
    if estimator.solver not in SOLVERS:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


class HyperparametersMixin:
    """The shared parameters of an estimator, resolved for the engine."""

    _parameter_constraints: dict[str, list[Any]] = {
        "solver": [StrOptions({"lbfgs", *SOLVERS})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *SCHEDULES})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "max_grad_norm": [None, Interval(Real, 0, None, closed="neither")],
        "device": [str],
        "dtype": [StrOptions(set(DTYPES))],
    }

    solver: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    max_grad_norm: float | None
    device: str
    dtype: str

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        """Return the names of the parameters; scikit-learn inspects the signature again at every call."""
        return super()._get_param_names()  # type: ignore[misc]

    def _recipe(self, n_rows: int, module: nn.Module) -> Recipe:
        """Resolve the hyperparameters for that many rows."""
        batch_size = self._automatic_batch_size(n_rows) if self.batch_size == "auto" else self.batch_size
        if batch_size > n_rows:
            if self.solver in SOLVERS:
                warnings.warn(
                    f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped: batch_size="
                    f"{batch_size}, sample size {n_rows}.",
                    stacklevel=2,
                )
            batch_size = n_rows
        pairs = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
        if pairs and batch_size < 2:
            raise ValueError(
                f"Batch normalisation needs batches of at least 2 rows, got batch_size={self.batch_size!r} with"
                f" n_samples={n_rows}."
            )
        return Recipe(
            batch_size=int(batch_size),
            learning_rate=self.learning_rate,
            learning_rate_init=float(self.learning_rate_init),
            lowers_rate=self.solver == "sgd",
            power_t=float(self.power_t),
            max_iter=self._n_epochs(math.ceil(n_rows / batch_size)),
            max_fun=self.max_fun,
            shuffle=self.shuffle,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            max_grad_norm=np.inf if self.max_grad_norm is None else self.max_grad_norm,
            stop_on_score=self.early_stopping and self.solver in SOLVERS,
            pairs=pairs,
        )

    def _automatic_batch_size(self, n_rows: int) -> int:
        """Return the batch size that "auto" stands for."""
        return min(200, n_rows)

    def _n_epochs(self, n_batches: int) -> int:
        """Return the number of epochs at most, for that many batches in each."""
        return int(self.max_iter)

    def _penalty(self) -> float:
        """Return the strength of the penalty in the loss; "adamw" decays the weights beside it."""
        return 0.0 if self.solver == "adamw" else float(self.alpha)

    def _solver_options(self) -> SolverOptions:
        return SolverOptions(
            learning_rate=self.learning_rate if self.learning_rate in SCHEDULES else "constant",
            momentum=float(self.momentum),
            nesterovs_momentum=bool(self.nesterovs_momentum),
            beta_1=float(self.beta_1),
            beta_2=float(self.beta_2),
            epsilon=float(self.epsilon),
            weight_decay=float(self.alpha) if self.solver == "adamw" else 0.0,
        )
