"""Targets between the user's form and the engine's: labels to indices and back, and the score of predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse
from sklearn.utils.multiclass import check_classification_targets, type_of_target


class Targets(Protocol):
    """What an estimator needs to know of its y."""

    @property
    def n_outputs(self) -> int:
        """Number of raw scores per row."""

    @property
    def link(self) -> str:
        """Name of the function from raw scores to predictions."""

    @property
    def blocks(self) -> tuple[int, ...]:
        """Number of classes of each softmax; empty for other links."""

    def encode(self, y: Any) -> np.ndarray:
        """Return y as (n, columns): class indices for softmax outputs, floats for the others."""

    def score(self, raw: np.ndarray, predicted: np.ndarray, encoded: np.ndarray, weight: np.ndarray | None) -> float:
        """Return accuracy or R2 of raw scores and their link against encoded targets."""


def label_type(y: Any) -> str:
    """Return scikit-learn's type of labels, or raise its error where y are none."""
    kind = type_of_target(y, input_name="y")
    # scikit-learn's own check also warns where there are many classes, as a batch of a stream may well have.
    if kind.startswith(("continuous", "unknown")):
        check_classification_targets(y)
    return kind


@dataclass(frozen=True)
class ClassTargets:
    """The classes of each column of y; `kind` is "binary", "multiclass", "multilabel" or "multioutput"."""

    kind: str
    classes: tuple[np.ndarray, ...]
    sparse: bool = False

    @classmethod
    def from_labels(cls, y: Any) -> "ClassTargets":
        """Learn the classes from y of shape (n,) or (n, columns), already validated."""
        if isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biuU":  # their type is known without a look
            return cls.from_classes([np.unique(y)], several=False)
        # scikit-learn's type has any two values for an indicator; here those of one have to be 0 and 1.
        if label_type(y) == "multilabel-indicator" and not len(_no_indicators(y)):
            return cls("multilabel", (np.array([0, 1]),) * y.shape[1], scipy.sparse.issparse(y))
        if scipy.sparse.issparse(y):
            raise ValueError(f"Sparse y must be an indicator of labels, all zeros and ones, got {np.unique(y.data)}.")
        return cls.from_classes([np.unique(column) for column in _columns(y)], several=y.ndim == 2)

    @classmethod
    def from_classes(cls, classes: Sequence[Any], several: bool) -> "ClassTargets":
        """Take the sorted classes of each column of y; `several` says that y is two-dimensional."""
        classes = tuple(np.asarray(column) for column in classes)
        if several:
            return cls("multioutput", classes)
        return cls("binary" if len(classes[0]) <= 2 else "multiclass", classes)

    @property
    def link(self) -> str:
        """Return "logistic" for one score a label, "softmax" for one a class."""
        return "logistic" if self.kind in ("binary", "multilabel") else "softmax"

    @property
    def blocks(self) -> tuple[int, ...]:
        """Return the number of classes of each softmax."""
        return tuple(len(column) for column in self.classes) if self.link == "softmax" else ()

    @property
    def n_outputs(self) -> int:
        """Return the number of raw scores per row."""
        return sum(self.blocks) if self.blocks else len(self.classes)

    @property
    def public_classes(self) -> np.ndarray | list[np.ndarray]:
        """The value of `classes_`: an array, or a list of them for several softmax columns."""
        if self.kind == "multilabel":
            return np.arange(len(self.classes))
        return list(self.classes) if self.kind == "multioutput" else self.classes[0]

    def unknown(self, y: Any) -> np.ndarray:
        """Return the labels in y that are no known class."""
        if self.kind == "multilabel":
            return _no_indicators(y)
        pairs = zip(_columns(y), self.classes, strict=True)
        return np.concatenate([np.setdiff1d(column, classes) for column, classes in pairs])

    def encode(self, y: Any) -> np.ndarray:
        """Return class indices int64 (n, columns) for softmax outputs, 0.0 or 1.0 for logistic ones."""
        if self.kind == "multilabel":
            return np.asarray(y.toarray() if scipy.sparse.issparse(y) else y, dtype=float)
        pairs = zip(_columns(y), self.classes, strict=True)
        indices = np.stack([np.searchsorted(classes, column) for column, classes in pairs], axis=1)
        return indices.astype(float) if self.kind == "binary" else indices

    def split(self, raw: np.ndarray) -> list[np.ndarray]:
        """Return the raw scores of each softmax."""
        return np.split(raw, np.cumsum(self.blocks[:-1]), axis=1) if len(self.blocks) > 1 else [raw]

    def decide(self, raw: np.ndarray) -> np.ndarray:
        """Return the most probable encoded targets (n, columns) from raw scores (n, n_outputs)."""
        if self.link == "logistic":
            last = [len(classes) - 1 for classes in self.classes]  # the only class of a constant y
            return np.minimum(raw > 0, last)
        return np.stack([part.argmax(axis=1) for part in self.split(raw)], axis=1)

    def decode(self, raw: np.ndarray) -> Any:
        """Return the predicted labels in the form that y had."""
        decided = self.decide(raw)
        if self.kind == "multilabel":
            return scipy.sparse.csr_matrix(decided) if self.sparse else decided
        labels = [column[decided[:, j]] for j, column in enumerate(self.classes)]
        return np.stack(labels, axis=1) if self.kind == "multioutput" else labels[0]

    def score(self, raw: np.ndarray, predicted: np.ndarray, encoded: np.ndarray, weight: np.ndarray | None) -> float:
        """Return the (subset) accuracy, or NaN where raw scores are NaN."""
        if np.isnan(raw).any():
            return np.nan
        return float(np.average((self.decide(raw) == encoded).all(axis=1), weights=weight))


@dataclass(frozen=True)
class RealTargets:
    """Real targets behind the link "identity" or "exp"."""

    n_outputs: int
    link: str
    blocks: tuple[int, ...] = ()

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return y as (n, n_outputs)."""
        return y.reshape(len(y), -1)

    def score(self, raw: np.ndarray, predicted: np.ndarray, encoded: np.ndarray, weight: np.ndarray | None) -> float:
        """Return R2, or NaN where predictions are not finite or rows too few for it."""
        from sklearn.metrics import r2_score  # takes longer to import than sknn itself

        if len(encoded) < 2 or not np.isfinite(predicted).all():
            return np.nan
        return float(r2_score(encoded, predicted, sample_weight=weight))


def _no_indicators(y: Any) -> np.ndarray:
    return np.setdiff1d(y.data if scipy.sparse.issparse(y) else y, [0, 1])


def _columns(y: np.ndarray) -> list[np.ndarray]:
    return [y] if y.ndim == 1 else list(y.T)
