"""What all classifiers share: labels and class weights in fit, and the predict family."""

from collections.abc import Iterator
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sknn._fitting import all_or_nothing
from sknn._hyperparameters import is_stochastic
from sknn._input import to_host
from sknn._links import LINKS, LOG_LINKS
from sknn._losses import Loss, make_loss
from sknn._targets import ClassTargets, label_type


class ClassifierEstimatorMixin(ClassifierMixin):
    """The classifier's half of an estimator that trains raw scores."""

    _classifier_constraints: dict[str, list[Any]] = {
        "loss": [StrOptions({"log_loss", "focal"})],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "focal_gamma": [Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    loss: str
    label_smoothing: float
    focal_gamma: float
    class_weight: Any

    @property
    def classes_(self) -> Any:
        """Class labels: an array, or a list of arrays for several columns of y."""
        if "_targets" not in vars(self):
            raise AttributeError(f"This {type(self).__name__} has no attribute 'classes_' before it is fitted.")
        return self._targets.public_classes

    def _learn_targets(self, y: Any) -> ClassTargets:
        return ClassTargets.from_labels(y)

    def _check_targets(self, y: Any, targets: Any) -> None:
        n_columns = 1 if y.ndim == 1 else y.shape[1]
        if n_columns != len(targets.classes) or (y.ndim == 1) != (targets.kind in ("binary", "multiclass")):
            raise ValueError(
                f"y has {n_columns} column(s) of type {y.ndim}-D, but the estimator learned {len(targets.classes)}"
                f" column(s) of {targets.kind} targets."
            )
        if len(targets.unknown(y)):
            label_type(y)  # continuous y has an error of its own
            given = np.unique(y.data if issparse(y) else y)
            raise ValueError(
                "`y` has classes not in `self.classes_`."
                f" `self.classes_` has {targets.public_classes}. 'y' has {given}."
            )

    def _continue_targets(self, y: Any) -> ClassTargets:
        learned = self._learn_targets(y)
        if not all(map(np.array_equal, learned.classes, self._targets.classes)):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit."
                f" Previously got {self.classes_}, `y` has {learned.public_classes}"
            )
        self._check_targets(y, self._targets)
        return self._targets

    def _row_weights(self, y: Any, sample_weight: np.ndarray | None, targets: Any) -> np.ndarray | None:
        if self.class_weight is None:
            return sample_weight
        weight = np.ones(y.shape[0]) if sample_weight is None else sample_weight
        if y.ndim == 2 and not isinstance(self.class_weight, str):
            return compute_sample_weight(self.class_weight, y) * weight
        used = weight != 0
        by_row = np.where(used, weight, 0.0)
        for column, known in zip(_columns_of(y), targets.classes, strict=True):
            classes = np.unique(column[used]) if isinstance(self.class_weight, str) else known
            # "balanced" counts weights, not rows, so that a weight of two stays the same as a repeated row.
            of_class = compute_class_weight(
                self.class_weight, classes=classes, y=column[used], sample_weight=weight[used]
            )
            by_row[used] *= of_class[np.searchsorted(classes, column[used])]
        return by_row

    def _make_loss(self, targets: Any) -> Loss:
        parameter = self.label_smoothing if self.loss == "log_loss" else self.focal_gamma
        return make_loss(self.loss, targets.link, parameter, targets.blocks)

    @available_if(is_stochastic)
    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch over X and y, going on from the weights and the solver's state of the last call.

        The schedules "cosine" and "onecycle" end after `max_iter` calls, when their rate is zero.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The labels; not all `classes` need to be among them.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; a weight of zero is an absent row.
        classes : array-like of shape (n_classes,) or list of them, default=None
            The classes of all calls, needed in the first; a list of arrays where y has several columns.

        Returns
        -------
        self : object
            The estimator. When the call raises, the estimator is as it was before.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call or another than before, if y has labels that are not in
            it, or with `early_stopping=True` or `class_weight="balanced"`.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit, which does not see all classes at once."
                " Pass a dict, such as one made with sklearn.utils.class_weight.compute_class_weight."
            )
        return self._partial_fit(X, y, sample_weight, self._announced_targets(to_host(y), to_host(classes)))

    def _announced_targets(self, y: Any, classes: Any) -> ClassTargets | None:
        """Return the targets that the first call announces, or None where they are known already."""
        known = hasattr(self, "module_")
        if classes is None:
            if not known:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return None
        if known:
            announced, before = _as_columns(classes), _as_columns(self.classes_)
            same = len(announced) == len(before) and all(map(np.array_equal, announced, before))
            if not same:
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
                )
            return None
        columns = _as_columns(classes)
        if len(columns) == 1 and type_of_target(y) == "multilabel-indicator":
            if not np.array_equal(columns[0], np.arange(np.shape(y)[1])):
                raise ValueError(
                    f"classes of multilabel y are the numbers of its columns, np.arange({np.shape(y)[1]}), got"
                    f" {classes!r}."
                )
            return ClassTargets.from_labels(check_array(y, accept_sparse="csr"))
        return ClassTargets.from_classes(columns, several=len(columns) > 1)

    def predict(self, X: Any) -> Any:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_columns)
            The labels in the type of y; a CSR matrix where y was a sparse label indicator.
        """
        raw = self._raw_scores(X)
        return self._targets.decode(raw)

    def predict_proba(self, X: Any) -> Any:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or list of such arrays
            Probabilities in the order of `classes_`, in the dtype computed with; for multilabel y that of
            each label, for several columns of classes a list with an array for each.
        """
        return self._probabilities(X, LINKS)

    def predict_log_proba(self, X: Any) -> Any:
        """Predict the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or list of such arrays
            Computed from the raw scores, so that they are finite where a probability rounds to zero.
        """
        return self._probabilities(X, LOG_LINKS)

    def _probabilities(self, X: Any, links: dict[str, Any]) -> Any:
        raw = self._raw_scores(X)
        targets: ClassTargets = self._targets
        link = links[targets.link]
        if targets.kind == "binary":
            one_class = len(targets.classes[0]) == 1
            return link(np.full_like(raw, np.inf) if one_class else np.concatenate([-raw, raw], axis=1))
        if targets.kind == "multioutput":
            return [link(block) for block in targets.split(raw)]
        return link(raw)

    def decision_function(self, X: Any) -> Any:
        """Compute the raw scores: the log-odds of logistic outputs, the inputs of softmax ones.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes), or list of such arrays
            One score a row for two classes, above zero where `classes_[1]` is predicted; one for each
            class or label otherwise; a list with an array for each of several columns of classes.
        """
        raw = self._raw_scores(X)
        if self._targets.kind == "multioutput":
            return self._targets.split(raw)
        return raw.ravel() if self._targets.kind == "binary" else raw

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy of `predict(X)`; for y of several columns, that of whole rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame, Tensor} of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The true labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            The weighted share of rows that are right.
        """
        check_is_fitted(self)
        y, sample_weight = to_host(y), to_host(sample_weight)
        if self._targets.kind != "multioutput":
            return super().score(X, y, sample_weight)
        predicted, y = self.predict(X), np.asarray(y)  # accuracy_score takes no such y
        if y.shape != predicted.shape:
            raise ValueError(f"y must be of shape {predicted.shape}, as what is predicted for X, got {y.shape}.")
        check_consistent_length(y, sample_weight)
        right = (y == predicted).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _columns_of(y: Any) -> Iterator[np.ndarray]:
    if y.ndim == 1:
        yield y
    else:
        yield from (y[:, [j]].toarray().ravel() if issparse(y) else y[:, j] for j in range(y.shape[1]))


def _as_columns(classes: Any) -> list[np.ndarray]:
    """Return the sorted classes of each column, given one array of labels or a list of arrays."""
    several = isinstance(classes, list | tuple) and len(classes) and np.ndim(classes[0]) == 1
    columns = classes if several else [classes]
    for column in columns:
        unique_labels(column)  # raises where they are no labels: NaN, mixed types, none at all
    return [np.unique(column) for column in columns]
