"""scikit-learn's searches, which train the networks of all candidates and folds together."""

import copy
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn import model_selection
from sklearn.utils._param_validation import Interval

from sknn._rehearsal import StandIn, deliver, fixed_splits, is_worth_it, no_score


class _TogetherMixin:
    """A search of scikit-learn's whose fits are done together, before scikit-learn asks for them."""

    _parameter_constraints: dict[str, list[Any]]
    estimator: Any
    cv: Any
    n_jobs: int | None
    verbose: int
    batch_memory: int | None

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Run fit with all candidates.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, as the estimator takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The targets.
        **params : dict of str to object
            Parameters of the estimator's `fit`, and `groups` for the splitter; arrays as long as X are split with it.

        Returns
        -------
        self : object
            The search, with the fitted attributes that scikit-learn documents.
        """
        vars(self).pop("loss_curves_", None)  # of a fit before
        own_search = type(self)._run_search is not _TogetherMixin._run_search  # its candidates may follow from scores
        if own_search or not is_worth_it(self.estimator, params, self.verbose):
            return super().fit(X, y, **params)  # type: ignore[misc]
        self._validate_params()  # type: ignore[attr-defined]
        self._get_scorers()  # type: ignore[attr-defined]
        splits = fixed_splits(self.estimator, X, y, self.cv, params.get("groups"))
        rehearsed = self._copy(splits, scoring=no_score, refit=False, verbose=0, error_score="raise")
        rehearsed.return_train_score, rehearsed._skl_callbacks = False, []

        def rehearse(stand_in: StandIn) -> None:
            rehearsed.estimator = stand_in
            super(_TogetherMixin, rehearsed).fit(X, y, **params)  # type: ignore[misc]

        delivery = deliver(rehearse, self.estimator, len(splits), self.n_jobs, self.batch_memory, self.verbose)
        played = self._copy(splits, estimator=StandIn(self.estimator, delivery))
        played._candidates, played._seconds = rehearsed._candidates, delivery.seconds
        super(_TogetherMixin, played).fit(X, y, **params)  # type: ignore[misc]
        results = {name: value for name, value in vars(played).items() if name.endswith("_")}
        if isinstance(getattr(played.scorer_, "_estimator", None), StandIn):  # which would keep all networks
            played.scorer_._estimator = self.estimator
        vars(self).update(results)
        self.loss_curves_ = delivery.loss_curves(len(splits))
        return self

    def _copy(self, splits: list[Any], **changed: Any) -> Any:
        """Return a copy that keeps those splits, and has one job as all fits are done."""
        copied = copy.copy(self)
        for name, value in {"cv": splits, "n_jobs": 1, **changed}.items():
            setattr(copied, name, value)
        return copied

    def _run_search(self, evaluate_candidates: Any, *, callback_ctx: Any = None) -> None:
        """Search the candidates of the pass before, if there was one."""

        def evaluate(candidates: Any, **options: Any) -> Any:
            known = getattr(self, "_candidates", None)
            self._candidates = list(candidates) if known is None else known
            return evaluate_candidates(self._candidates, **options)

        rehearsed = isinstance(self.estimator, StandIn)
        super()._run_search(evaluate if rehearsed else evaluate_candidates, callback_ctx=callback_ctx)  # type: ignore[misc]

    def _format_results(self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None) -> Any:
        for result, seconds in zip(out, getattr(self, "_seconds", ()), strict=False):
            result["fit_time"] = seconds
        return super()._format_results(candidate_params, n_splits, out, more_results)  # type: ignore[misc]


class GridSearchCV(_TogetherMixin, model_selection.GridSearchCV):
    """Search a grid as scikit-learn's `GridSearchCV` does, and train all networks together.

    Candidates, splits, scores and `cv_results_` are those of scikit-learn's own search over the same estimator; only
    the times differ, as each fit has its share of that of its program. Fits train together where the estimator, or the
    last step of a pipeline, is an MLPTorchClassifier or MLPTorchRegressor whose batches one thread computes, and their
    networks are of the same shape; all others are done one by one.

    Parameters
    ----------
    estimator : estimator
        What to fit; those that cannot be fitted together are fitted as by scikit-learn's search.
    param_grid : dict or list of dict
        Values to try by the name of the parameter.
    scoring : str, callable, list, tuple or dict, default=None
        How to score; None is the estimator's own score.
    n_jobs : int, default=None
        Threads for the programs, and processes for fits that are done one by one.
    refit : bool, str or callable, default=True
        Whether, or by which score, to fit the best candidate to all rows.
    cv : int, cross-validation generator or iterable, default=None
        The folds; None are five.
    verbose : int, default=0
        Above 0, tells which fits trained together and which alone, and what scikit-learn's search tells.
    pre_dispatch : int or str, default='2*n_jobs'
        Read where scikit-learn does all fits.
    error_score : "raise" or float, default=nan
        The score of a candidate whose fit raises.
    return_train_score : bool, default=False
        Whether to score the training rows too.
    batch_memory : int, default=None
        Bytes that the networks of one program may take; None is a quarter of what is free.

    Attributes
    ----------
    loss_curves_ : list of list of list of float
        Losses of the epochs of each fold of each candidate, beside the attributes of scikit-learn's search. Where
        scikit-learn did all fits, there are none.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : The search, its other attributes and methods.
    sknn.inspection.LossCurveDisplay.from_search : Draws those losses.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.model_selection import GridSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPTorchClassifier(learning_rate="onecycle", max_iter=50, random_state=0)
    >>> search = GridSearchCV(network, {"learning_rate_init": [0.0001, 0.01], "alpha": [0.0001, 0.1]}).fit(X, y)
    >>> search.best_params_["learning_rate_init"]
    0.01
    """

    _parameter_constraints = {
        **model_selection.GridSearchCV._parameter_constraints,
        "batch_memory": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
        batch_memory: int | None = None,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.batch_memory = batch_memory


class RandomizedSearchCV(_TogetherMixin, model_selection.RandomizedSearchCV):
    """Search at random as scikit-learn's `RandomizedSearchCV` does, and train all networks together.

    What trains together, and what it comes to, is as in `GridSearchCV`.

    Parameters
    ----------
    estimator : estimator
        What to fit; those that cannot be fitted together are fitted as by scikit-learn's search.
    param_distributions : dict or list of dict
        Distributions, or lists of values, to draw from by the name of the parameter.
    n_iter : int, default=10
        Number of candidates.
    scoring : str, callable, list, tuple or dict, default=None
        How to score; None is the estimator's own score.
    n_jobs : int, default=None
        Threads for the programs, and processes for fits that are done one by one.
    refit : bool, str or callable, default=True
        Whether, or by which score, to fit the best candidate to all rows.
    cv : int, cross-validation generator or iterable, default=None
        The folds; None are five.
    verbose : int, default=0
        Above 0, tells which fits trained together and which alone, and what scikit-learn's search tells.
    pre_dispatch : int or str, default='2*n_jobs'
        Read where scikit-learn does all fits.
    random_state : int, RandomState instance or None, default=None
        Source of the candidates.
    error_score : "raise" or float, default=nan
        The score of a candidate whose fit raises.
    return_train_score : bool, default=False
        Whether to score the training rows too.
    batch_memory : int, default=None
        Bytes that the networks of one program may take; None is a quarter of what is free.

    Attributes
    ----------
    loss_curves_ : list of list of list of float
        Losses of the epochs of each fold of each candidate, beside the attributes of scikit-learn's search. Where
        scikit-learn did all fits, there are none.

    See Also
    --------
    sklearn.model_selection.RandomizedSearchCV : The search, its other attributes and methods.
    sknn.inspection.LossCurveDisplay.from_search : Draws those losses.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.model_selection import RandomizedSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPTorchClassifier(learning_rate="onecycle", max_iter=50, random_state=0)
    >>> rates = {"learning_rate_init": loguniform(1e-3, 1e-1)}
    >>> search = RandomizedSearchCV(network, rates, n_iter=4, random_state=0).fit(X, y)
    >>> bool(search.best_score_ > 0.9)
    True
    """

    _parameter_constraints = {
        **model_selection.RandomizedSearchCV._parameter_constraints,
        "batch_memory": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        batch_memory: int | None = None,
    ) -> None:
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.batch_memory = batch_memory
