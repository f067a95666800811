"""Two passes of scikit-learn's own model selection: one that lists the fits it asks for, one that is given them."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils.validation import _num_samples

from sknn._together import Job, Outcome, can_take_part, fit_all, last_step


class StandIn(BaseEstimator):
    """Passes for an estimator wherever scikit-learn handles one, until a desk has done its fit: then it becomes it.

    Parameters
    ----------
    estimator : estimator
        What it passes for; its parameters are the stand-in's own.
    desk : Listing or Delivery
        Who is asked to fit; clones share it.
    """

    def __init__(self, estimator: Any, desk: "Listing | Delivery") -> None:
        self.estimator, self.desk = estimator, desk

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """Ask the desk for the fitted estimator, and become it for whoever scores, clones or keeps it."""
        fitted, asked = self.desk.fit(self.estimator, X, y, fit_params), vars(self.estimator)
        # scikit-learn takes them back where it linked the callbacks of a search.
        linked = {name: asked[name] for name in asked.keys() & {"_parent_callback_ctx", "_skl_callbacks"}}
        self.__class__, self.__dict__ = type(fitted), vars(fitted) | linked
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the estimator's parameters."""
        return self.estimator.get_params(deep)

    def set_params(self, **params: Any) -> Self:
        """Set the estimator's parameters."""
        self.estimator.set_params(**params)
        return self

    def get_metadata_routing(self) -> Any:
        """Return what the estimator asks for."""
        return self.estimator.get_metadata_routing()

    def __sklearn_clone__(self) -> "StandIn":
        return StandIn(clone(self.estimator), self.desk)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "estimator":
            raise AttributeError(name)
        return getattr(self.estimator, name)

    @property
    def _parent_callback_ctx(self) -> Any:
        """Where scikit-learn links a search's callbacks to those of its estimator."""
        return self.estimator._parent_callback_ctx

    @_parent_callback_ctx.setter
    def _parent_callback_ctx(self, context: Any) -> None:
        self.estimator._parent_callback_ctx = context

    @_parent_callback_ctx.deleter
    def _parent_callback_ctx(self) -> None:
        del self.estimator._parent_callback_ctx


class Listing:
    """Writes down the fits that it is asked for, candidate after candidate, each with all folds."""

    def __init__(self, n_folds: int) -> None:
        self.n_folds, self.jobs = n_folds, list[Job]()

    def fit(self, estimator: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> Any:
        """Write down a fit; X, y and the rest are those of the first candidate with the same fold."""
        fold = len(self.jobs) % self.n_folds
        if len(self.jobs) >= self.n_folds:
            X, y, fit_params = self.jobs[fold].X, self.jobs[fold].y, self.jobs[fold].fit_params
        self.jobs.append(Job(estimator, X, y, fit_params, fold))
        return estimator


class Delivery:
    """Hands out what came of the fits in the order of the list; later ones, such as a refit, it does itself."""

    def __init__(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        self.outcomes = outcomes
        self._next = iter(zip(jobs, outcomes, strict=True))

    def fit(self, estimator: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> Any:
        """Return the fitted estimator, warn as its fit warned, and raise what it raised."""
        job, outcome = next(self._next, (None, None))
        if job is None or outcome is None:
            return estimator.fit(X, **fit_params) if y is None else estimator.fit(X, y, **fit_params)
        if _num_samples(X) != _num_samples(job.X):
            raise RuntimeError(
                f"A fit of {_num_samples(job.X)} rows was prepared, but one of {_num_samples(X)} asked for."
            )
        for warning in outcome.caught:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if outcome.error is not None:
            raise outcome.error
        return outcome.estimator

    def loss_curves(self, n_folds: int) -> list[list[list[float]]]:
        """Return the losses of the epochs of each fold of each candidate; none where a fit failed."""
        curves = [
            list(getattr(last_step(outcome.estimator), "loss_curve_", []) if outcome.error is None else [])
            for outcome in self.outcomes
        ]
        return [curves[first : first + n_folds] for first in range(0, len(curves), n_folds)]

    @property
    def seconds(self) -> np.ndarray:
        """Time of each fit, of those together their share."""
        return np.array([outcome.seconds for outcome in self.outcomes])


def is_worth_it(estimator: Any, params: dict[str, Any] | None, verbose: int) -> bool:
    """Return whether fits of that estimator may be done together, and it is certain what they are given.

    Where they may not, `verbose` tells the user.
    """
    worth_it = can_take_part(estimator) and not (params and get_config()["enable_metadata_routing"])
    if verbose > 0 and not worth_it:
        print("Trained no fits together: scikit-learn does them one by one.")
    return worth_it


def fixed_splits(estimator: Any, X: Any, y: Any, cv: Any, groups: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the splits of a procedure, so that its two passes have the same."""
    X, y, groups = indexable(X, y, groups)
    return list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups))


def deliver(
    rehearse: Callable[[StandIn], object],
    estimator: Any,
    n_folds: int,
    n_jobs: int | None,
    batch_memory: int | None,
    verbose: int,
) -> Delivery:
    """Rehearse a procedure, do all fits that it asks for, and return the desk that hands them out."""
    listing = Listing(n_folds)
    rehearse(StandIn(clone(estimator), listing))
    outcomes = fit_all(listing.jobs, n_jobs, batch_memory)
    if verbose > 0:
        print(_told([outcome.together for outcome in outcomes], n_folds))
    return Delivery(listing.jobs, outcomes)


def _told(together: Sequence[bool], n_folds: int) -> str:
    """Return which fits trained together, and which alone."""
    told = f"Trained {sum(together)} of {len(together)} fits together"
    alone = []
    for candidate in range(len(together) // n_folds):
        folds = [fold for fold in range(n_folds) if not together[candidate * n_folds + fold]]
        if folds:
            some = "" if len(folds) == n_folds else f" in folds {folds}"
            alone.append(f"{candidate}{some}")
    return f"{told}, each alone: candidates {', '.join(alone)}." if alone else f"{told}."


def no_score(estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """Return zero: in a rehearsal there is nothing to score."""
    return 0.0
