"""What all estimators share: validate, encode, place, build, run, publish; raw scores and pickling."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, _fit_context, is_classifier, is_regressor
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.validation import check_is_fitted, check_random_state
from torch import Tensor, nn

from sknn._autograd import RowCost, detached_copy, released, row_cost
from sknn._devices import compute_scope, plain_modes, resolve_device, resolve_precision
from sknn._ensemble import Ensemble, member_rngs
from sknn._few import few_scores
from sknn._fitting import (
    Fit,
    ScoredRows,
    all_or_nothing,
    forward,
    make_solver,
    make_step,
    run_lbfgs,
    run_solver,
    seed_layers,
    split,
    validation_as_given,
    warn_if_unfinished,
)
from sknn._hyperparameters import HyperparametersMixin
from sknn._input import (
    check_weight_sum,
    place_rows,
    place_targets,
    place_weights,
    to_host,
    used_rows,
    validate_rows,
    validate_training,
)
from sknn._learner import TrainState
from sknn._losses import Loss
from sknn._progress import Progress
from sknn._samples import Samples
from sknn._solvers import SOLVERS
from sknn._targets import Targets


class BaseTorchEstimator(HyperparametersMixin, CallbackSupportMixin, BaseEstimator, ABC):
    """Base class of the estimators: trains the module that a subclass makes, and computes its raw scores."""

    n_ensemble: int = 1
    n_features_in_: int
    module_: nn.Module
    device_: torch.device
    _targets: Any
    _row_cost: RowCost
    _solver_state: dict[str, Any]
    _memories: list[dict[str, Any]]
    _progress: Progress

    @abstractmethod
    def _learn_targets(self, y: Any) -> Targets:
        """Return what the targets are, learned from validated y, or raise ValueError where it fits none."""

    @abstractmethod
    def _check_targets(self, y: Any, targets: Targets) -> None:
        """Raise ValueError where validated y does not fit targets that are already known."""

    @abstractmethod
    def _continue_targets(self, y: Any) -> Targets:
        """Return the targets of the fit before, or raise ValueError where a warm start has others."""

    @abstractmethod
    def _row_weights(self, y: Any, sample_weight: np.ndarray | None, targets: Any) -> np.ndarray | None:
        """Return the weight that each row has in the loss, or None for equal weights."""

    @abstractmethod
    def _make_module(self, n_outputs: int, rng: np.random.RandomState) -> nn.Module:
        """Return a new module on the CPU, its weights drawn."""

    def _as_rows(self, X: Any, *, reset: bool) -> Any:
        """Return X on the host with two dimensions; what else it may be like is learned with `reset`."""
        return to_host(X)

    def _row_shape(self) -> Sequence[int] | None:
        """Return the shape in which the module takes a row, if it is another than that of validated X."""
        return None

    def _learn_inputs(self, module: nn.Module, training: ScoredRows) -> None:
        """Tell a new module what it has to know of the rows to train on."""

    @abstractmethod
    def _check_combinations(self) -> None:
        """Raise ValueError where parameters that are valid each do not go together."""

    @abstractmethod
    def _make_loss(self, targets: Targets) -> Loss:
        """Return the loss to train with."""

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the model to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The training rows. float64 is computed in float64, float32 and uint8 in float32 (see `dtype`).
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets: labels of any type in classification, real numbers in regression.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; a weight of zero is an absent row, as is one below 1e-38.
        X_val : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_val, n_features), default=None
            Rows that are scored after each epoch into `validation_scores_`, and that decide when to stop if
            `early_stopping` is on, instead of a part of X.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            The targets of `X_val`.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of the rows of `X_val`.

        Returns
        -------
        self : object
            The fitted estimator. When fit raises, the estimator is as it was before.

        Raises
        ------
        ValueError
            If a parameter, X, y or the weights are not valid, or if training ends in weights that are not finite.
        """
        first = not (self.warm_start and hasattr(self, "module_"))
        training, validation = (X, y, sample_weight), (X_val, y_val, sample_weight_val)
        fit = self._prepare(*training, validation, first=first)
        states, progress = self._resume(first)
        if getattr(self, "_skl_callbacks", None):
            progress.open_up(fit.module, functools.partial(validation_as_given, fit, training, validation))
            self._progress = progress
        # L-BFGS begins one iteration more than it runs.
        context = self._init_callback_context(max_subtasks=fit.recipe.max_iter + (self.solver not in SOLVERS))
        given = {"X": X, "y": y, "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
        context.call_on_fit_task_begin(estimator=self, **given)
        if not first and fit.recipe.stop_on_score and fit.validation is not None:
            # The weights to begin with may stay the best; scored on these rows, not on those of the fit before.
            for state, network in zip(states, fit.networks, strict=True):
                state.best_score = float(np.nan_to_num(fit.score(fit.validation, network), nan=-np.inf))
        if getattr(self, "_skl_callbacks", None):
            as_it_stands = functools.partial(self._fitted_attributes, fit, states, progress)
            progress.call_back(context, estimator=self, reconstruction_attributes=as_it_stands, **given)
        with self._scope(fit, progress):
            if self.solver in SOLVERS:
                step = make_step([fit])
                finished = run_solver(fit, step, make_solver([fit], step), states, progress, fit.recipe.max_iter)
                warn_if_unfinished(fit.recipe, finished)
            else:
                run_lbfgs(fit, states[0], progress)
        progress.restore()
        self._publish(fit, states, progress)
        context.call_on_fit_task_end(estimator=self, reconstruction_attributes={}, **given)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, targets: Targets | None = None) -> Self:
        """Train for one epoch over X and y, going on from where the last call ended."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "module_")
        fit = self._prepare(
            X, y, sample_weight, (None, None, None), first=first, targets=targets if first else self._targets
        )
        states, progress = self._resume(first)
        step = make_step([fit])
        solver = make_solver([fit], step)
        if getattr(self, "_solver_state", {}).get("name") == self.solver:
            solver.load_state(self._solver_state["solver"])
            for state, rate in zip(states, self._solver_state["rates"], strict=True):
                state.rate, state.n_epochs = rate, self._solver_state["n_epochs"]
        with self._scope(fit, progress):
            run_solver(fit, step, solver, states, progress, 1)
        self._publish(fit, states, progress)
        # fit leaves no solver behind; the stream of partial_fit goes on with it, in a pickle too.
        self._solver_state = {
            "name": self.solver,
            "solver": solver.state(),
            "rates": [state.rate for state in states],
            "n_epochs": states[0].n_epochs,
        }
        return self

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any], *, first: bool, targets: Any = None
    ) -> Fit:
        """Validate, encode, place and build; nothing is trained and nothing published."""
        self._check_combinations()
        if self.n_ensemble > 1 and self.solver not in SOLVERS:
            raise ValueError(
                "n_ensemble > 1 needs a solver that updates the weights batch by batch, got"
                f" n_ensemble={self.n_ensemble} with solver={self.solver!r}."
            )
        numeric = is_regressor(self)
        X = self._as_rows(X, reset=first)
        X, y, sample_weight = validate_training(self, X, y, sample_weight, y_numeric=numeric, reset=first)
        if targets is None:
            targets = self._learn_targets(y) if first else self._continue_targets(y)
        else:
            self._check_targets(y, targets)
        encoded, weight = targets.encode(y), self._row_weights(y, sample_weight, targets)
        if weight is not None:
            # Nothing can be divided by what a fit flushes to zero.
            weight = np.where(np.abs(weight) < np.finfo(np.float32).tiny, 0.0, weight)
        rows, rngs = used_rows(weight, X.shape[0]), member_rngs(check_random_state(self.random_state), self.n_ensemble)

        device = resolve_device(self.device)
        known = X.dtype if first else next(self.module_.parameters()).new_empty(0).cpu().numpy().dtype
        dtype, autocast = resolve_precision(self.dtype, known, device)
        wide = torch.float64 if self.solver == "lbfgs" and device.type != "mps" else dtype
        module = self._new_module(targets, rngs) if first else self._continued_module(targets)
        module.to(device, wide)
        n_seen = 0 if first else self.t_
        generators = seed_layers(module, device, rngs, n_seen) + self._global_generators(device)
        placed = place_rows(X, device, wide, self._row_shape())
        training = ScoredRows(placed, rows, encoded[rows], None if sample_weight is None else sample_weight[rows])
        training, held_out = self._hold_out(training, validation, targets, rngs[0])
        if first:
            weights = None if weight is None else weight[training.rows]
            self._learn_inputs(module, training._replace(weight=weights))
        samples = Samples(
            placed,
            place_targets(encoded, device, wide),
            None if weight is None else place_weights(weight, device, wide),
            weight is not None and bool((weight < 0).any()),
        )
        return Fit(
            module=module,
            loss=self._make_loss(targets),
            alpha=self._penalty(),
            autocast=autocast,
            solver=self.solver,
            options=self._solver_options(),
            cost=row_cost(module, placed[:1]),
            samples=samples,
            targets=targets,
            recipe=self._recipe(len(training.rows), module),
            training=training,
            validation=held_out,
            rngs=rngs,
            n_seen=n_seen,
            device=device,
            dtype=dtype,
            generators=generators,
        )

    def _global_generators(self, device: torch.device) -> list[torch.Generator]:
        """Return those of torch's generators that layers draw from."""
        return []

    def _hold_out(
        self, training: ScoredRows, validation: tuple[Any, Any, Any], targets: Targets, rng: np.random.RandomState
    ) -> tuple[ScoredRows, ScoredRows | None]:
        """Return the rows to train on and those to validate on: given, split off, or none."""
        X, y, sample_weight = validation
        if X is None and y is None and sample_weight is None:
            if not self.early_stopping or self.solver not in SOLVERS:
                return training, None
            one_logistic = targets.link == "logistic" and targets.n_outputs == 1
            return split(training, self.validation_fraction, rng, stratify=one_logistic)
        if X is None or y is None:
            missing = "X_val" if X is None else "y_val"
            raise ValueError(f"Validation data needs both X_val and y_val, but {missing} was not given.")
        X = self._as_rows(X, reset=False)
        X, y, sample_weight = validate_training(self, X, y, sample_weight, y_numeric=is_regressor(self), reset=False)
        self._check_targets(y, targets)
        if is_regressor(self) and len(y) < 2:
            raise ValueError(f"y_val of a regressor needs at least 2 rows for R2 to be defined, got {len(y)}.")
        if sample_weight is not None:
            check_weight_sum(sample_weight, "sample_weight_val")
        placed = place_rows(X, training.X.device, training.X.dtype, self._row_shape())
        return training, ScoredRows(placed, np.arange(len(placed)), targets.encode(y), sample_weight)

    def _new_module(self, targets: Targets, rngs: list[np.random.RandomState]) -> nn.Module:
        """Return a new module, of as many networks as there are sources of their weights."""
        modules = [self._make_module(targets.n_outputs, rng) for rng in rngs]
        return modules[0] if len(modules) == 1 else Ensemble(modules, targets.link, targets.blocks)

    def _continued_module(self, targets: Targets) -> nn.Module:
        """Return the parameters' module with the fitted weights, to train on from there."""
        module = self._new_module(targets, [np.random.RandomState(0)] * self.n_ensemble)
        module.to(dtype=next(self.module_.parameters()).dtype)  # to load float64 weights as they are
        new, old = module.state_dict(), self.module_.state_dict()
        # By order, since a layer without weights, such as dropout, shifts the names of those after it.
        described, learned = ([(name.split(".")[-1], tuple(t.shape)) for name, t in of.items()] for of in (new, old))
        if described != learned:
            raise ValueError(
                "Training can only go on with the network of the fit before, but the parameters now describe another"
                f" one: learned were {learned}, described are {described}."
            )
        module.load_state_dict(dict(zip(new, old.values(), strict=True)))
        return module

    def _resume(self, first: bool) -> tuple[list[TrainState], Progress]:
        """Return what training remembers of the fit before, if it goes on from it."""
        rate = float(self.learning_rate_init)
        if first:
            return [TrainState(rate) for _ in range(self.n_ensemble)], Progress([], [])
        states = [TrainState(rate, **memory) for memory in self._memories]
        return states, Progress(self.loss_curve_, self.validation_scores_ or [])

    def _scope(self, fit: Fit, progress: Progress) -> AbstractContextManager[None]:
        """Prepare printing, and return the scope in which threads and denormals suit the fit."""
        name = "accuracy" if is_classifier(self) else "R2"
        progress.describe(fit.recipe.max_iter, name, lambda: fit.score(fit.training), verbose=bool(self.verbose))
        return compute_scope(fit.work, fit.device)

    def _fitted_attributes(self, fit: Fit, states: list[TrainState], progress: Progress, ended: bool = False) -> Any:
        """Return the fitted attributes of the model as it stands, a dict; in the midst of a fit, copies."""
        scores = progress.validation_scores
        by_score = fit.recipe.stop_on_score and fit.validation is not None
        best_scores = [state.best_score for state in states]
        best_score = np.mean(best_scores) if by_score else np.fmax.reduce([-np.inf, *scores])  # of those not NaN
        return {
            "module_": (released if ended else detached_copy)(fit.module).to(dtype=fit.dtype),
            "device_": fit.device,
            "_targets": fit.targets,
            "_row_cost": fit.cost,
            "n_outputs_": fit.targets.n_outputs,
            "out_activation_": fit.targets.link,
            "n_iter_": progress.n_iter,
            "t_": max(state.n_seen for state in states),
            "loss_": progress.loss,
            "best_loss_": None if by_score else min(progress.loss_curve, default=np.inf),
            "loss_curve_": list(progress.loss_curve),
            "validation_scores_": list(scores) if fit.validation is not None else None,
            "best_validation_score_": float(best_score) if fit.validation is not None else None,
            "_memories": [state.memory(with_loss=not by_score) for state in states],
        }

    def _publish(self, fit: Fit, states: list[TrainState], progress: Progress) -> None:
        """Set the fitted attributes, unless the weights are not finite, or never were and early stopping undid them."""
        attributes = self._fitted_attributes(fit, states, progress, ended=True)
        scores = (attributes["validation_scores_"] or [])[len(attributes["loss_curve_"]) - attributes["n_iter_"] :]
        unscored = np.isnan(scores).all() or attributes["best_validation_score_"] == -np.inf  # that of some member
        undone = fit.recipe.stop_on_score and scores and unscored
        if undone or not all(parameter.isfinite().all() for parameter in fit.module.parameters()):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )
        for name in ("_solver_state", "_progress"):  # of the fit before, and of this one while it ran
            self.__dict__.pop(name, None)
        self.__dict__.update(attributes)

    def _raw_scores(self, X: Any) -> np.ndarray:
        """Return the raw scores of rows X (n, n_outputs), or raise NotFittedError."""
        if "module_" not in vars(self):  # sooner than the check
            check_is_fitted(self)
        X = validate_rows(self, self._as_rows(X, reset=False))
        scores = few_scores(self.module_, X, self.device_)
        return self._pass_forward(self.module_, X).cpu().numpy() if scores is None else scores

    def _pass_forward(self, compute: Callable[[Tensor], Tensor], X: Any) -> Tensor:
        """Return what comes of validated rows of X, batch by batch, on the device."""
        with plain_modes(), torch.inference_mode():
            rows = place_rows(X, self.device_, next(self.module_.parameters()).dtype, self._row_shape())
            with compute_scope(self._row_cost.of_pass(len(rows)), self.device_, once=True):
                return forward(compute, self._row_cost, rows)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_progress", None)  # where a callback copies
        if "module_" in state and self.device_.type != "cpu":
            state["module_"] = detached_copy(self.module_).to("cpu")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "module_" in state and self.device_.type != "cpu":
            try:
                self.device_ = resolve_device(str(self.device_))
            except ValueError:  # made on a device that this machine does not have
                self.device_ = torch.device("cpu")
            self.module_.to(self.device_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags
