"""scikit-learn's functions of cross-validation, which train the networks of all folds together."""

from typing import Any

import numpy as np
from sklearn import model_selection
from sklearn.metrics import check_scoring
from sklearn.preprocessing import LabelEncoder
from sklearn.utils._param_validation import validate_parameter_constraints

from sknn._rehearsal import Delivery, StandIn, deliver, fixed_splits, is_worth_it, no_score


def cross_validate(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: dict[str, Any] | None = None,
    pre_dispatch: Any = "2*n_jobs",
    return_train_score: bool = False,
    return_estimator: bool = False,
    return_indices: bool = False,
    error_score: Any = np.nan,
    batch_memory: int | None = None,
) -> dict[str, Any]:
    """Cross-validate as scikit-learn's function does, with the networks of all folds trained together.

    Parameters
    ----------
    estimator : estimator
        What to fit; those that cannot be fitted together are fitted as by scikit-learn's function.
    X : array-like of shape (n_samples, n_features)
        The rows, as the estimator takes them.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        The targets.
    groups : array-like of shape (n_samples,), default=None
        Groups of rows, for splitters that keep them together.
    scoring : str, callable, list, tuple or dict, default=None
        How to score; None is the estimator's own score.
    cv : int, cross-validation generator or iterable, default=None
        The folds; None are five.
    n_jobs : int, default=None
        Threads for the programs, and processes for fits that are done one by one.
    verbose : int, default=0
        Above 0, tells which fits trained together and which alone, and what scikit-learn's function tells.
    params : dict, default=None
        Parameters of the estimator's `fit`; arrays as long as X are split with it.
    pre_dispatch : int or str, default='2*n_jobs'
        Read where scikit-learn does all fits.
    return_train_score : bool, default=False
        Whether to score the training rows too.
    return_estimator : bool, default=False
        Whether to return the fitted estimators.
    return_indices : bool, default=False
        Whether to return the rows of the folds.
    error_score : "raise" or float, default=nan
        The score of a fold whose fit raises.
    batch_memory : int, default=None
        Bytes that the networks of one program may take; None is a quarter of what is free.

    Returns
    -------
    dict of str to array
        What `sklearn.model_selection.cross_validate` returns; a fit's time is its share of that of its program.
    """
    options = {
        "scoring": scoring, "verbose": verbose, "params": params, "return_train_score": return_train_score,
        "return_estimator": return_estimator, "return_indices": return_indices, "error_score": error_score,
    }  # fmt: skip
    if not is_worth_it(estimator, params, verbose):
        jobs = {"n_jobs": n_jobs, "pre_dispatch": pre_dispatch}
        return model_selection.cross_validate(estimator, X, y, groups=groups, cv=cv, **jobs, **options)
    _check(model_selection.cross_validate, estimator, **options)
    splits = fixed_splits(estimator, X, y, cv, groups)
    delivery = _delivery(estimator, X, y, splits, params, n_jobs, batch_memory, verbose)
    results = model_selection.cross_validate(StandIn(estimator, delivery), X, y, cv=splits, n_jobs=1, **options)
    results["fit_time"] = delivery.seconds
    return results


def cross_val_score(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: dict[str, Any] | None = None,
    pre_dispatch: Any = "2*n_jobs",
    error_score: Any = np.nan,
    batch_memory: int | None = None,
) -> np.ndarray:
    """Score by cross-validation as scikit-learn's function does, with the networks of all folds trained together.

    Parameters
    ----------
    estimator : estimator
        What to fit; those that cannot be fitted together are fitted as by scikit-learn's function.
    X : array-like of shape (n_samples, n_features)
        The rows, as the estimator takes them.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        The targets.
    groups : array-like of shape (n_samples,), default=None
        Groups of rows, for splitters that keep them together.
    scoring : str or callable, default=None
        How to score; None is the estimator's own score.
    cv : int, cross-validation generator or iterable, default=None
        The folds; None are five.
    n_jobs : int, default=None
        Threads for the programs, and processes for fits that are done one by one.
    verbose : int, default=0
        Above 0, tells which fits trained together and which alone, and what scikit-learn's function tells.
    params : dict, default=None
        Parameters of the estimator's `fit`; arrays as long as X are split with it.
    pre_dispatch : int or str, default='2*n_jobs'
        Read where scikit-learn does all fits.
    error_score : "raise" or float, default=nan
        The score of a fold whose fit raises.
    batch_memory : int, default=None
        Bytes that the networks of one program may take; None is a quarter of what is free.

    Returns
    -------
    ndarray of shape (n_folds,), float64
        The score of each fold.
    """
    options = {"scoring": scoring, "verbose": verbose, "params": params, "error_score": error_score}
    if not is_worth_it(estimator, params, verbose):
        jobs = {"n_jobs": n_jobs, "pre_dispatch": pre_dispatch}
        return model_selection.cross_val_score(estimator, X, y, groups=groups, cv=cv, **jobs, **options)
    _check(model_selection.cross_val_score, estimator, **options)
    splits = fixed_splits(estimator, X, y, cv, groups)
    delivery = _delivery(estimator, X, y, splits, params, n_jobs, batch_memory, verbose)
    return model_selection.cross_val_score(StandIn(estimator, delivery), X, y, cv=splits, n_jobs=1, **options)


def cross_val_predict(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: dict[str, Any] | None = None,
    pre_dispatch: Any = "2*n_jobs",
    method: str = "predict",
    batch_memory: int | None = None,
) -> Any:
    """Predict each row by a network that was not fitted to it, with the networks of all folds trained together.

    Parameters
    ----------
    estimator : estimator
        What to fit; those that cannot be fitted together are fitted as by scikit-learn's function.
    X : array-like of shape (n_samples, n_features)
        The rows, as the estimator takes them.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        The targets.
    groups : array-like of shape (n_samples,), default=None
        Groups of rows, for splitters that keep them together.
    cv : int, cross-validation generator or iterable, default=None
        The folds; None are five.
    n_jobs : int, default=None
        Threads for the programs, and processes for fits that are done one by one.
    verbose : int, default=0
        Above 0, tells which fits trained together and which alone, and what scikit-learn's function tells.
    params : dict, default=None
        Parameters of the estimator's `fit`; arrays as long as X are split with it.
    pre_dispatch : int or str, default='2*n_jobs'
        Read where scikit-learn does all fits.
    method : {"predict", "predict_proba", "predict_log_proba", "decision_function"}, default="predict"
        What to predict with.
    batch_memory : int, default=None
        Bytes that the networks of one program may take; None is a quarter of what is free.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_outputs), or list of such arrays
        What `sklearn.model_selection.cross_val_predict` returns.
    """
    options = {"verbose": verbose, "params": params, "method": method}
    encoded = method != "predict" and y is not None
    if not is_worth_it(estimator, params, verbose) or (encoded and np.ndim(y) != 1):
        jobs = {"n_jobs": n_jobs, "pre_dispatch": pre_dispatch}
        return model_selection.cross_val_predict(estimator, X, y, groups=groups, cv=cv, **jobs, **options)
    _check(model_selection.cross_val_predict, estimator, **options)
    splits = fixed_splits(estimator, X, y, cv, groups)
    # scikit-learn numbers the classes before it fits, so that folds without one of them agree on the columns.
    fitted_to = LabelEncoder().fit_transform(y) if encoded else y
    delivery = _delivery(estimator, X, fitted_to, splits, params, n_jobs, batch_memory, verbose)
    return model_selection.cross_val_predict(StandIn(estimator, delivery), X, y, cv=splits, n_jobs=1, **options)


def _check(function: Any, estimator: Any, **options: Any) -> None:
    """Refuse, before any network is trained, what scikit-learn's function would refuse after."""
    validate_parameter_constraints(function._skl_parameter_constraints, options, function.__name__)
    if "scoring" in options:
        check_scoring(estimator, scoring=options["scoring"])


def _delivery(
    estimator: Any,
    X: Any,
    y: Any,
    splits: list[Any],
    params: dict[str, Any] | None,
    n_jobs: int | None,
    batch_memory: int | None,
    verbose: int,
) -> Delivery:
    """Do the fits of a cross-validation, for the function that scores or predicts with them."""

    def rehearse(stand_in: StandIn) -> None:
        model_selection.cross_validate(
            stand_in, X, y, cv=splits, n_jobs=1, params=params, scoring=no_score, error_score="raise"
        )

    return deliver(rehearse, estimator, len(splits), n_jobs, batch_memory, verbose)
