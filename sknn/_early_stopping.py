"""EarlyStoppingOnMetric: the end of a fit, and its weights, chosen by any scorer."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from sklearn.metrics import check_scoring
from sklearn.utils._param_validation import Interval, validate_params

from sknn._epoch_callback import EpochCallback, ended_epoch
from sknn._progress import GivenRows


@dataclass
class _Course:
    """The scores of one fit so far."""

    scorer: Callable[..., Any]
    rows: GivenRows
    scores: list[float] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int | None = None
    n_stale: int = 0
    n_judged: int = 0

    def score(self, estimator: Any) -> float:
        X, y, weight = self.rows
        # Not every function takes weights.
        score = self.scorer(estimator, X, y, **({} if weight is None else {"sample_weight": weight}))
        if not isinstance(score, Real):
            raise ValueError(f"scoring must give one number, got {score!r}.")
        return float(score)

    def judge(self, tol: float) -> bool:
        """Judge the scores that are new, several where a checkpoint was loaded; return whether the last is the best."""
        for score in self.scores[self.n_judged :]:
            self.n_judged += 1
            self.n_stale = 0 if score >= self.best + tol else self.n_stale + 1
            if score > self.best:
                self.best, self.best_epoch = score, self.n_judged
        return self.best_epoch == self.n_judged


class EarlyStoppingOnMetric(EpochCallback):
    """End a fit when a score of the validation rows no longer improves, and keep the weights of the best epoch.

    Set it on the network itself, alone or inside of a pipeline or a search. Validation rows are those given to `fit` as
    `X_val` and `y_val`, or else those that `early_stopping=True` holds out. With `n_iter_no_change=np.inf`, the network
    then leaves the end to this callback; the weights are this callback's choice in any case.

    Parameters
    ----------
    scoring : str, callable or None
        One score that is better the greater it is: a name of scikit-learn's, such as "roc_auc" or "neg_log_loss", or a
        callable with the signature `scorer(estimator, X, y)`. None is the network's own `score`.
    n_iter_no_change : int, default=10
        So many epochs in a row may go by without an improvement; one more ends the fit.
    tol : float, default=1e-4
        What the score must gain to count as an improvement.

    Attributes
    ----------
    scores_ : list of float
        Score after each epoch of the fit that ended last.
    best_score_ : float
        The best of them, or -inf where all are NaN.
    best_epoch_ : int or None
        Number of the epoch that reached it, whose weights are the fitted ones; epochs count from 1.

    See Also
    --------
    sklearn.callback.ScoringMonitor : Records scores of the training rows.

    Notes
    -----
    Every epoch the network is copied for the scorer. Where accuracy or R2 is the score, `early_stopping=True` alone
    does the same in less time.

    In a search with several processes, the attributes tell of fits of this process only, such as the last one of the
    best candidate.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.callbacks import EarlyStoppingOnMetric
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> stopping = EarlyStoppingOnMetric("roc_auc", n_iter_no_change=5)
    >>> network = MLPTorchClassifier(early_stopping=True, n_iter_no_change=np.inf, random_state=0)
    >>> model = make_pipeline(StandardScaler(), network.set_callbacks(stopping)).fit(X, y)
    >>> stopping.best_score_ == max(stopping.scores_)
    True
    >>> stopping.best_epoch_ < network.n_iter_ < network.max_iter
    True
    """

    @validate_params(
        {
            "scoring": [str, callable, None],
            "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
            "tol": [Interval(Real, 0, None, closed="left")],
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(self, scoring: Any, *, n_iter_no_change: int = 10, tol: float = 1e-4) -> None:
        super().__init__()
        self.scoring = scoring
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> bool:
        """Score the network after an epoch.

        Parameters
        ----------
        estimator : estimator
            The network.
        context : sklearn.callback.CallbackContext
            The fit, or one of its epochs.
        fitted_estimator : estimator, default=None
            A copy of the network as it is after this task.

        Returns
        -------
        stop : bool
            Whether the fit is to end.

        Raises
        ------
        ValueError
            If the score is not one number.
        """
        if context in self._fits:
            course = self._fits[context]
            course.judge(self.tol)  # an interrupted fit may have none but those that a checkpoint brought
            self.scores_, self.best_score_, self.best_epoch_ = course.scores, course.best, course.best_epoch
            return False
        progress = ended_epoch(estimator, context)
        if progress is None:
            return False
        course = self._fits[context.parent]
        course.scores.append(course.score(fitted_estimator))
        if course.judge(self.tol):
            progress.keep()
        return course.n_stale > self.n_iter_no_change

    def _begin_fit(self, estimator: Any, context: Any) -> _Course:
        rows = estimator._progress.validation_rows()
        if rows is None:
            raise ValueError(
                "EarlyStoppingOnMetric scores validation rows, but this fit has none: give X_val and y_val to fit, or"
                " set early_stopping=True and n_iter_no_change=np.inf, which holds out a part of X."
            )
        course = _Course(check_scoring(estimator, self.scoring), rows)
        estimator._progress.scores_of_callbacks.append((self.scoring, course.scores))
        return course
